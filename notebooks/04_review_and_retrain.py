# %% [markdown]
# # 4 · Review, and retrain
#
# A reviewer corrects cells; the score is counted again, and the automated one stays beside it. Then the corrections
# teach a classifier, which is tried on a field that it has not seen.
#
# **The reviewer is played by the truth of rendered fields.** Cells are named by rules here
# (`nuclei.segmenter=watershed`), which err more than the network: there is something to correct.

# %%
import json
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from PIL import Image

from pdl1quant import batch, load_config, review, training
from pdl1quant.outputs.scores_table import read_scores
from pdl1quant.stages.score import format_interval, format_tps
from pdl1quant.validation.detection import match_points
from pdl1quant.validation.phantoms import PhantomSettings, render_phantom

WORK = Path(tempfile.mkdtemp())
RULES = "nuclei.segmenter=watershed"
CLASSES = ["tumour", "lymphocyte", "stroma"]

# %% [markdown]
# ## Three slides, a field each: two to learn from, one to try

# %%
truths = {}
for number, name in enumerate(["learn_1", "learn_2", "try"], start=1):
    phantom = render_phantom(PhantomSettings(size_px=416, tps_pct=40), seed=number)
    folder = WORK / ("try" if name == "try" else "learn") / name
    folder.mkdir(parents=True)
    Image.fromarray(phantom.rgb).save(folder / f"{name}.png")
    truths[name] = phantom.cells


class Quiet:
    """Is told how the work goes, and says nothing."""

    def __getattr__(self, _):
        return lambda *_: None


def score(folder, out, *settings):
    """Score a folder of cases; where the results are."""
    pack, _ = batch.find_rules("28-8-cytoplasm", None)
    config = load_config(None, [RULES, *settings])
    job = batch.Job(paths=(WORK / folder,), output=WORK / out, config=config, pack=pack, mpp=0.5)
    batch.run(job, listener=Quiet())
    return WORK / out


def true_classes(cells, name):
    """What each cell is: the class of the drawn one whose centre lies within 3 um; empty where there is none."""
    truth = truths[name]
    places = [table[["x_px", "y_px"]].to_numpy() for table in (truth, cells)]
    matches = match_points(*places, max_distance=6)
    named = np.full(len(cells), "", dtype=object)
    named[matches.found] = truth["cell_class"].astype(str).to_numpy()[matches.truth]
    return named


learnt_from = score("learn", "result")
results = review.open_results(learnt_from)

# %% [markdown]
# ## The ledger
#
# Every correction is a line in `result/edits/`: who, when, what it was, what it is. Nothing is overwritten. The
# reviewer names every cell of which they are sure.

# %%
for image in results.images:
    session = review.Review(results, image)
    named = true_classes(session.cells, image.case)
    for each in CLASSES:
        rows = np.flatnonzero(named == each)
        session.edit(review.EditKind.CLASS, reviewer="the truth", cells=session.ids(rows), to=each)
    was = session.cells["cell_class"].astype(str).to_numpy()
    sure = np.isin(named, CLASSES)
    print(f"{image.name}: {sure.sum()} cells named, {(was != named)[sure].sum()} of them were something else")

done = review.rescore(learnt_from)
for row in done.rows:
    if row.level == "case":
        print(
            f"{row.case}: automated {row.tps:.1f} %, reviewed {row.reviewed_tps:.1f} %, by {', '.join(row.reviewers)}"
        )

# %% [markdown]
# ## What the review changed
#
# Both numbers with their intervals, and what was drawn: TPS of the viable tumour cells of the truth.

# %%
figure, axes = plt.subplots(figsize=(8, 2.4), layout="constrained")
cases = [row for row in done.rows if row.level == "case"]
for place, row in enumerate(cases):
    truth = truths[row.case]
    viable = truth[truth["viable"] & (truth["cell_class"] == "tumour")]
    ends = [
        ("automated", row.tps, row.tps_low, row.tps_high, -0.14, "#d55e00"),
        ("reviewed", row.reviewed_tps, row.reviewed_tps_low, row.reviewed_tps_high, 0.14, "#0072b2"),
    ]
    for name, tps, low, high, shift, colour in ends:
        axes.plot([low, high], [place + shift] * 2, color=colour, linewidth=2)
        axes.plot(tps, place + shift, "o", color=colour, label=name if place == 0 else None)
    axes.plot(100 * viable["positive"].mean(), place, "|", color="black", markersize=26, markeredgewidth=2,
              label="drawn" if place == 0 else None)  # fmt: skip
axes.set(yticks=range(len(cases)), yticklabels=[row.case for row in cases], xlim=(0, 100), ylim=(1.5, -0.5),
         xlabel="TPS (cytoplasm), %")  # fmt: skip
axes.legend(frameon=False, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1))
axes.spines[["top", "right"]].set_visible(False)
plt.show()

# %% [markdown]
# ## Teach a classifier
#
# `pdl1quant train result -o my-model` on the command line. Whole slides are held out in turn for its report.

# %%
labels = review.write_review_labels(learnt_from)
job = training.TrainingJob(labels=(labels,), output=WORK / "my-model", config=load_config(None, [RULES]), mpp=0.5)
training.train(job, say=print)
plt.figure(figsize=(4.6, 4.6))
plt.imshow(Image.open(WORK / "my-model" / "reliability.png"))
plt.axis("off")
plt.show()

# %% [markdown]
# ## Try it on the slide that it has not seen

# %%
before = score("try", "before")
after = score("try", "after", f"cells.classifier={json.dumps(str(WORK / 'my-model'))}")
shares, scores = {}, {}
for name, out in (("rules", before), ("classifier", after)):
    cells = review.Review(results := review.open_results(out), results.images[0]).cells
    truth = true_classes(cells, "try")
    called = cells["cell_class"].astype(str).to_numpy()
    shares[name] = {each: 100 * np.mean(called[truth == each] == each) for each in CLASSES}
    scores[name] = next(row for row in read_scores(out / "scores.csv") if row.level == "case")
table = pd.DataFrame(shares)
figure, axes = plt.subplots(figsize=(7, 3.4), layout="constrained")
for shift, (name, colour) in zip((-0.2, 0.2), (("rules", "#d55e00"), ("classifier", "#0072b2")), strict=True):
    bars = axes.bar(np.arange(len(CLASSES)) + shift, table[name], 0.38, color=colour, label=name)
    axes.bar_label(bars, fmt="%.0f", padding=2)
axes.set(
    xticks=range(len(CLASSES)), xticklabels=CLASSES, ylim=(0, 128), yticks=range(0, 101, 20), ylabel="% called right"
)
axes.set_title("cells of the slide that was held out, by what they are", loc="left")
axes.legend(frameon=False, ncols=2, loc="upper right", bbox_to_anchor=(1, 1.0))
axes.spines[["top", "right"]].set_visible(False)
plt.show()
for name, row in scores.items():
    interval = format_interval(row.tps_low, row.tps_high)
    print(f"{name:10} TPS {format_tps(row.tps)} % ({interval}), {row.n_tumour} tumour cells")

# %% [markdown]
# Rendered fields are all drawn by one hand: on real slides expect less, and measure it on slides that were held out.
# Use it with `pdl1quant score --classifier my-model`; its name and hash then stand in the record of the run.
