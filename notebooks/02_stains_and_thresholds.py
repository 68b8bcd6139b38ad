# %% [markdown]
# # 2 · Stains and thresholds
#
# From colours to optical density, from density to brown, and how much of the score is the threshold.
#
# The field is real tissue that comes with scikit-image: **FHL2 in colonic glands, a demonstration, not a TPS.**

# %%
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import pdl1quant
from pdl1quant.slides.images import read_image
from pdl1quant.stages.score import format_interval, format_tps, threshold_curve
from pdl1quant.stages.stains import deconvolve

config = pdl1quant.Config()
field = read_image(Path("../sample_slides/ihc/fhl2_colon.tif"))

# %% [markdown]
# ## One estimate per case
#
# The white of empty glass and the colours of the two stains are measured on all images of a case together. Where they
# cannot be, fixed ones stand in, and the result carries a flag that says so.

# %%
sample = pdl1quant.sample_image(field.rgb, mpp=field.mpp, config=config)
estimate = pdl1quant.estimate_case([sample], config=config)
print("white:", [round(level, 1) for level in estimate.white], f"({estimate.white_source})")
print("haematoxylin:", np.round(estimate.haematoxylin, 3), f"({estimate.vectors_source})")
print("DAB:", np.round(estimate.dab, 3))

# %%
od = deconvolve(field.rgb, estimate)
panels = [
    ("the field", field.rgb, {}),
    ("haematoxylin, OD", od.haematoxylin, {"cmap": "Blues", "vmin": 0, "vmax": 1}),
    ("DAB, OD", od.dab, {"cmap": "YlOrBr", "vmin": 0, "vmax": 1}),
    ("what neither explains, OD", od.residual, {"cmap": "PuOr", "vmin": -0.3, "vmax": 0.3}),
]
figure, all_axes = plt.subplots(2, 2, figsize=(11, 9.6), layout="constrained")
for axes, (title, picture, how) in zip(all_axes.flat, panels, strict=True):
    shown = axes.imshow(picture, **how)
    axes.set_title(title, loc="left")
    axes.set_axis_off()
    if how:
        figure.colorbar(shown, ax=axes, shrink=0.75)
plt.show()

# %% [markdown]
# OD is log10: 0 is glass, 0.3 passes half of the light, 1 a tenth. It is *apparent*: DAB scatters, and cameras encode
# light by a curve. It compares within one scanner and one protocol, and is no amount of protein.
#
# ## What a wrong white does
#
# White is where OD 0 lies. Taken for 255 instead of what was measured, glass itself gets DAB:

# %%
wrong = deconvolve(field.rgb, replace(estimate, white=(255.0, 255.0, 255.0)))
glass = field.rgb.min(axis=2) > 0.95 * min(estimate.white)
for name, each in (("measured white", od), ("white taken for 255", wrong)):
    print(
        f"{name:20} median DAB OD of glass {np.median(each.dab[glass]):+.3f}, of everything {np.median(each.dab):.3f}"
    )

# %% [markdown]
# ## From density to a number
#
# Two rendered fields, of which one is brown at the membrane only. At the threshold t1 (0.2 until you calibrate it) a
# tumour cell is called positive; the curve shows what the TPS would be elsewhere. **A flat curve at t1 is a robust
# score; a steep one hangs on the threshold**, and the interval covers the grey band.

# %%
SAMPLES = Path("../sample_slides/phantoms")
lines = {
    "tps_cytoplasm": ("cytoplasm or membrane", "#d55e00", "-", 3),
    "tps_membrane": ("membrane", "#0072b2", "--", 1.5),
    "tps_cell": ("whole cell, mean", "#009e73", "-.", 1.5),
}
thresholds = np.linspace(0, 0.8, 161)
figure, all_axes = plt.subplots(1, 2, figsize=(11, 4), sharey=True, layout="constrained")
for axes, name in zip(all_axes, ("membrane_30", "cytoplasm_60"), strict=True):
    image = read_image(SAMPLES / f"{name}.tif")
    result = pdl1quant.score_image(image.rgb, mpp=image.mpp)
    curve = threshold_curve(result.cells, thresholds.tolist(), config=config.positivity)
    t1, margin = config.positivity.dab_od, config.score.threshold_margin_od
    axes.axvspan(t1 - margin, t1 + margin, color="0.9")
    axes.axvline(t1, color="0.2", linewidth=1)
    for column, (label, colour, dashes, width) in lines.items():
        axes.plot(curve["dab_od"], curve[column], dashes, color=colour, linewidth=width, label=label)
    interval = format_interval(result.score.tps_low, result.score.tps_high)
    axes.set(title=f"{name}: {format_tps(result.score.tps)} % ({interval})",
             xlabel="DAB threshold, OD", ylim=(0, 100), xlim=(0, 0.8))  # fmt: skip
    axes.spines[["top", "right"]].set_visible(False)
all_axes[0].set_ylabel("% of viable tumour cells")
all_axes[1].legend(frameon=False)
plt.show()

# %% [markdown]
# The mean of the whole cell misses brown that lies at the membrane only: a thin ring is diluted by all that is inside
# it. This is why membrane and cytoplasm are measured apart.
#
# Next: [a whole slide with a region](03_a_whole_slide.ipynb).
