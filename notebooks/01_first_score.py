# %% [markdown]
# # 1 · A first score
#
# One rendered field, from pixels to a TPS with its interval, and a picture of what was counted as what.
#
# The field is no tissue: it was drawn by `pdl1quant.validation.phantoms`, so that the right answer is known.
# **Research use only. Not for diagnosis.**

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

import pdl1quant
from pdl1quant.outputs.captions import Caption, score_text
from pdl1quant.outputs.overlays import draw_overlay
from pdl1quant.slides.images import read_image

SAMPLES = Path("../sample_slides/phantoms")

# %% [markdown]
# ## Read and score
#
# The file states its pixel size; for files that do not, say it: `read_image(path, mpp=0.5)`.

# %%
field = read_image(SAMPLES / "both_with_pigment.tif")
result = pdl1quant.score_image(field.rgb, mpp=field.mpp, keep_labels=True)
score = result.score
print(score_text(score))
print(f"{result.counts.n_cells} cells, {result.counts.n_tumour} of them viable tumour cells")
print("what a reader has to know:", ", ".join(score.flags))

# %% [markdown]
# `tumour_unconfirmed` is there because no person has said where tumour is; `few_blocks` because the field is small.
#
# ## Look before you believe
#
# Left the field, right what was found. The colour of an outline is the class and the grade; a dot says: positive.

# %%
caption = Caption(title="both_with_pigment.tif", score=score_text(score), rules="28-8-cytoplasm")
overlay = draw_overlay(field.rgb, result.compartments, result.cells, caption=caption, mpp=field.mpp)
figure, (left, right) = plt.subplots(1, 2, figsize=(13, 7.2), layout="constrained", width_ratios=(1, 1))
left.imshow(field.rgb)
left.set_title("the field: rendered tissue, black pigment among it", loc="left")
right.imshow(overlay)
right.set_title("what was counted as what", loc="left")
for axes in (left, right):
    axes.set_axis_off()
plt.show()

# %% [markdown]
# ## Four rates, one interval, and the truth
#
# The default rule pack, `28-8-cytoplasm`, counts a tumour cell whose cytoplasm **or** membrane is brown. The rates by
# membrane, by cytoplasm alone and by the whole cell stand beside it. The bar is the interval: few cells, patchy tissue,
# and a threshold that might be a little higher or lower.

# %%
truth = pd.read_csv(SAMPLES / "both_with_pigment_truth.csv")
viable = truth[truth["viable"] & (truth["cell_class"] == "tumour")]
rates = {
    "cytoplasm or membrane (scored)": (score.tps_cytoplasm, viable["positive"]),
    "membrane": (score.tps_membrane, viable["membrane_positive"]),
    "cytoplasm, no membrane": (score.tps_cytoplasm_only, viable["cytoplasm_positive"] & ~viable["membrane_positive"]),
}
figure, axes = plt.subplots(figsize=(8, 2.6), layout="constrained")
for place, (measured, drawn) in enumerate(rates.values()):
    axes.plot(measured, place, "o", color="#0072b2", markersize=9, label="measured" if place == 0 else None)
    axes.plot(100 * drawn.mean(), place, "|", color="#d55e00", markersize=22, markeredgewidth=3,
              label="drawn" if place == 0 else None)  # fmt: skip
axes.plot([score.tps_low, score.tps_high], [0, 0], color="#0072b2", linewidth=2, zorder=0)
axes.set(yticks=range(3), yticklabels=rates, xlim=(-2, 102), ylim=(2.5, -0.5), xlabel="% of viable tumour cells")
axes.legend(frameon=False, loc="lower right")
axes.spines[["top", "right"]].set_visible(False)
plt.show()

# %% [markdown]
# ## Every cell is a row
#
# Names carry units; nothing doubtful is dropped, it is flagged. `docs/columns.md` explains each column.

# %%
columns = ["cell_class", "positive", "dab_grade", "cytoplasm_dab_od_mean", "membrane_dab_od_run", "nucleus_area_um2"]
result.cells[columns].head(8).round(2)

# %% [markdown]
# A folder of fields is scored on the command line: `pdl1quant score FIELDS -o RESULT --mpp 0.5`. Next:
# [stains and thresholds](02_stains_and_thresholds.ipynb).
