# %% [markdown]
# # 3 · A whole slide, and a drawn region
#
# A slide is scored in tiles: the number does not depend on how it was cut. Then a pathologist draws the tumour.
#
# The slide is made here, from rendered fields with glass around them: small, so that this notebook runs in seconds.

# %%
import json
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import tifffile

from pdl1quant import batch, load_config
from pdl1quant.model import EXCLUDING_FLAGS, Flag, Rect
from pdl1quant.outputs.scores_table import read_scores
from pdl1quant.outputs.tables import read_cells
from pdl1quant.slides.images import read_image
from pdl1quant.slides.opening import open_slide
from pdl1quant.stages.score import format_interval, format_tps

SAMPLES = Path("../sample_slides/phantoms")
WORK = Path(tempfile.mkdtemp())

# %% [markdown]
# ## A slide with a pyramid
#
# Left a piece with few brown membranes, right one with many brown cells.

# %%
few, many = (read_image(SAMPLES / f"{name}.tif").rgb for name in ("membrane_30", "cytoplasm_60"))
level = np.full((800, 1400, 3), 243, np.uint8)
level[140:652, 150:662], level[140:652, 740:1252] = few, many
with tifffile.TiffWriter(WORK / "slide.tif") as file:
    for scale in (1, 4):
        pixels_per_cm = 10_000 / (0.5 * scale)
        file.write(level[::scale, ::scale], tile=(256, 256), photometric="rgb", compression="deflate", metadata=None,
                   subfiletype=int(scale > 1), resolution=(pixels_per_cm, pixels_per_cm),
                   resolutionunit="CENTIMETER")  # fmt: skip

with open_slide(WORK / "slide.tif") as slide:
    print(f"{slide.width} x {slide.height} px of {slide.mpp_x:g} um, {len(slide.levels)} levels, {slide.vendor}")
    window = slide.read(Rect(x0=600, y0=250, x1=900, y1=450), slide.grid(mpp=0.5))
plt.figure(figsize=(7, 4.7))
plt.imshow(window.rgb)
plt.title("a window of the slide, read alone", loc="left")
plt.axis("off")
plt.show()

# %% [markdown]
# ## Score it
#
# On the command line: `pdl1quant score slide.tif -o RESULT`. The same from Python:

# %%
pack, _ = batch.find_rules("28-8-cytoplasm", None)


class Quiet:
    """Is told how the work goes, and says nothing."""

    def __getattr__(self, _):
        return lambda *_: None


def score(out, roi=None, *settings):
    """Score the slide; its row of the case."""
    config = load_config(None, settings)
    job = batch.Job(paths=(WORK / "slide.tif",), output=WORK / out, config=config, pack=pack, roi=roi)
    batch.run(job, listener=Quiet())
    return next(row for row in read_scores(WORK / out / "scores.csv") if row.level == "case")


def text(row):
    """A score as it may be reported."""
    return f"TPS {format_tps(row.tps)} % ({format_interval(row.tps_low, row.tps_high)}) of {row.n_tumour} tumour cells"


whole = score("whole")
print(text(whole))
print("flags:", ", ".join(whole.flags))

# %% [markdown]
# Cut into tiles of another size, it is the same to the last bit:

# %%
small = score("small_tiles", None, "tiling.tile_px=512")
cells = read_cells(WORK / "whole" / "cells" / "slide.parquet")
print("same cells:", cells.equals(read_cells(WORK / "small_tiles" / "cells" / "slide.parquet")))
print("same score:", whole.tps == small.tps)

# %% [markdown]
# ## Where on the slide
#
# `overlays/slide.png` shows the tissue of a slide, and its TPS in colour; `maps/slide.ome.tif` holds the numbers behind
# it, for each square of 250 um with enough tumour cells. Here they lie over the slide:

# %%
side_px = 250 / 0.5
tps = tifffile.imread(WORK / "whole" / "maps" / "slide.ome.tif")[0]
rows, columns = tps.shape
figure, axes = plt.subplots(figsize=(11, 6.3), layout="constrained")
axes.imshow(level)
extent = (0, columns * side_px, rows * side_px, 0)
shown = axes.imshow(tps, extent=extent, cmap="viridis", vmin=0, vmax=100, alpha=0.35)
for row, column in np.argwhere(np.isfinite(tps)):
    place = min((column + 0.5) * side_px, level.shape[1] - 60), min((row + 0.5) * side_px, level.shape[0] - 60)
    axes.text(*place, f"{tps[row, column]:.0f} %", ha="center", va="center", fontsize=15, weight="bold",
              bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8})  # fmt: skip
axes.set(xlim=(0, level.shape[1]), ylim=(level.shape[0], 0))
axes.set_axis_off()
figure.colorbar(shown, ax=axes, shrink=0.8, label="TPS, %")
plt.show()

# %% [markdown]
# ## Draw the tumour
#
# In QuPath: an annotation with the class `Tumor`, exported as GeoJSON. Here it is written by hand, around the right
# piece. Tissue more than 500 um from it is not measured at all; cells outside of it, but near, stay in the table,
# flagged, and leave the score; only immune cells among them count in the CPS.

# %%
corners = [[720, 120], [1270, 120], [1270, 670], [720, 670], [720, 120]]
region = {
    "type": "Feature",
    "geometry": {"type": "Polygon", "coordinates": [corners]},
    "properties": {"objectType": "annotation", "classification": {"name": "Tumor"}},
}
(WORK / "roi.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [region]}))
drawn = score("drawn", WORK / "roi.geojson")
print("whole slide:  ", text(whole))
print("drawn tumour: ", text(drawn))
print("unconfirmed:", "tumour_unconfirmed" in whole.flags, "->", "tumour_unconfirmed" in drawn.flags)

# %%
cells = read_cells(WORK / "drawn" / "cells" / "slide.parquet")
outside = (cells["flags"] & int(Flag.OUTSIDE_ROI)) != 0
tumour = (cells["cell_class"] == "tumour") & ((cells["flags"] & int(EXCLUDING_FLAGS)) == 0)
figure, axes = plt.subplots(figsize=(11, 6.3), layout="constrained")
axes.imshow(level)
kinds = [
    ("outside of the region, left out", outside, "0.45"),
    ("tumour, negative", tumour & ~cells["positive"], "#0072b2"),
    ("tumour, positive", tumour & cells["positive"], "#f0e442"),
]
for name, chosen, colour in kinds:
    axes.scatter(
        cells["x_px"][chosen],
        cells["y_px"][chosen],
        s=16,
        color=colour,
        edgecolors="black",
        linewidths=0.5,
        label=f"{name} ({chosen.sum()})",
    )
axes.plot(*zip(*corners, strict=True), color="black", linewidth=1.5, linestyle="--")
axes.legend(loc="upper left", ncols=3, frameon=False, bbox_to_anchor=(0, 1.08), markerscale=1.5)
axes.set_axis_off()
plt.show()

# %% [markdown]
# Calls against cut-offs need more: the pack `28-8-label`, an indication, and at least 100 viable tumour cells
# (`pdl1quant assays`). Next: [review and retrain](04_review_and_retrain.ipynb).
