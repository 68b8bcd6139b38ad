"""Trained weights to ``model.onnx`` and ``card.toml``: `python models/cells-1/export.py --work DIR`.

``--integers model.onnx`` writes an exported network in 8-bit integers (int8); no image of a patient is read for that.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from augment import draw_batch
from fields import make_field
from integers import IntegerNet, align_steps, equalise, fit_steps, tune
from integers_onnx import write_integers
from network import CellNet, Shipped
from train import HERE, WORK

if TYPE_CHECKING:
    from collections.abc import Mapping

TITLE = "Nuclei, cells and cell classes in bright-field haematoxylin-DAB images"
INTEGERS_TITLE = f"{TITLE}, in 8-bit integers (int8)"
INTEGERS_NOTE = (
    "Made of the float32 network whose hash is integers_of; seed, steps, minutes, fields, share, temperature and leans "
    "are those of its training."
)
DATA = "Fields rendered by pdl1quant.validation.phantoms alone; no image of a patient, no weights of others."
LIMITS = (
    "Research use only. Measured on rendered fields and on Ki-67 fields, which stand in for PD-L1: that is no clinical "
    "accuracy, and no class label of real tissue was at hand. Thresholds after the network were set on those Ki-67 "
    "fields, its leans on them and on regions of real tissue drawn by eye, and of several ways to train it one was "
    "chosen on both: their figures flatter."
)
CLASSES = ("tumour", "lymphocyte", "macrophage", "stroma", "other")
NUCLEUS = "nucleus"
"""Names the logit of a nucleus among leans."""
REACH_PX = 192
"""Sum of what each layer sees; the test of the networks measures it."""
CONTEXT_PX = 128
"""With so much context about windows of 512 px, 1 of 7,357 real cells was another in an earlier network: class,
positive, or a pixel off.
Integers see their whole reach: there, a last digit far away may turn a rounding near by (4 in 1,000 rendered cells)."""


def export_onnx(network: CellNet, path: Path, *, temperature: float, lean: Mapping[str, float]) -> None:
    """Write the network with its scaling and its last activations, for any number of rows and columns.

    ``temperature`` divides the class logits: it is fitted so that the mean scores of nuclei are calibrated. ``lean`` is
    added to those of some classes before: themes show cells in other shares than tissue does. That of `NUCLEUS` is
    added to the logit of a nucleus.
    """
    network = copy.deepcopy(network)
    with torch.no_grad():
        for name, more in lean.items():
            if name == NUCLEUS:
                network.nuclei.bias[:4] += more
            else:
                network.cells.bias[2 + CLASSES.index(name)] += more
    partial = path.with_suffix(".part")
    torch.onnx.export(
        Shipped(network.eval(), temperature=temperature),
        (torch.zeros(1, 64, 64, 3, dtype=torch.uint8),),
        str(partial),
        input_names=["rgb"],
        output_names=["nuclei", "cells"],
        dynamic_axes={
            "rgb": {0: "n", 1: "height", 2: "width"},
            "nuclei": {0: "n", 2: "height", 3: "width"},
            "cells": {0: "n", 2: "half_height", 3: "half_width"},
        },
        opset_version=17,
        dynamo=False,
    )
    partial.replace(path)


def write_card(
    folder: Path, training: dict[str, Any], figures: dict[str, dict[str, float]], *, title: str, context_px: int | None
) -> None:
    """The card of ``folder/model.onnx``."""
    digest = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    top = {
        "name": folder.name, "title": title, "file": "model.onnx", "sha256": digest, "licence": "BSD-3-Clause",
        "training_data": DATA, "limits": LIMITS, "mpp": 0.5, "multiple_px": 32, "reach_px": REACH_PX,
        "context_px": context_px, "input": "rgb", "nuclei": "nuclei", "cells": "cells", "classes": list(CLASSES),
    }  # fmt: skip
    lines = [*_toml(top), "", "[training]", *_toml(training)]
    for name, section in figures.items():
        lines += ["", f"[figures.{name}]", *_toml(section)]
    partial = folder / "card.part"
    partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
    partial.replace(folder / "card.toml")


def _toml(values: dict[str, Any]) -> list[str]:
    return [f"{key} = {json.dumps(value)}" for key, value in values.items() if value is not None]


def load_network(work: Path, config: dict[str, Any], *, share: float) -> tuple[CellNet, dict[str, Any]]:
    """The averaged network of a run, finished or not, and what the card says about its training.

    ``share`` of 1 is the run's own; less is a mean with the weights that it started from, which keeps more of what
    those could do on images unlike the rendered ones.
    """
    saved = torch.load(work / "checkpoint.pt", weights_only=True)
    if share != 1 and not saved["start"]:
        raise SystemExit(f"{work}: began with random weights, which no mean is made with; leave out --share")
    network = CellNet(config["network"]["widths"])
    network.load_state_dict(
        {
            name: torch.lerp(saved["start"][name], now, share) if saved["start"] and now.is_floating_point() else now
            for name, now in saved["average"].items()
        }
    )
    count = int((work / "pool" / "count.txt").read_text(encoding="utf-8"))
    facts = {
        "code": "models/cells-1/train.py", "seed": config["seed"], "steps": saved["step"],
        "minutes_on_two_processors": round(saved["minutes"]), "fields": count,
        "parameters": sum(p.numel() for p in network.parameters()), "share": share,
    }  # fmt: skip
    return network, facts


def export_integers(source: Path, output: Path, work: Path, config: dict[str, Any]) -> dict[str, Any]:
    """Write ``source`` in 8-bit integers as ``output/model.onnx``; what the card says about its training."""
    settings, about = config["integers"], tomllib.loads((source.parent / "card.toml").read_text(encoding="utf-8"))
    temperature = about["training"]["temperature"]
    files = _rendered(work / "integers", config)
    torch.set_num_threads(1)
    network = IntegerNet(source)
    like = copy.deepcopy(network)
    some = [torch.from_numpy(np.load(path)[None, :, :, :3]) for path in files[: settings["fields_for_steps"]]]
    equalise(network, some)
    fit_steps(network, some)
    rng = np.random.default_rng(settings["seed"])
    sizes = {"batch": settings["batch"], "crop_px": settings["crop_px"]}
    batches = (
        torch.from_numpy(draw_batch(files, rng, **sizes)[:, :, :, :3].copy()) for _ in range(settings["batches"])
    )
    tune(
        network, like, batches, count=settings["batches"], learning_rate=settings["learning_rate"],
        temperature=temperature,
    )  # fmt: skip
    align_steps(network)
    write_integers(network, output / "model.onnx", temperature=temperature)
    return about["training"] | {
        "code": "models/cells-1/export.py --integers", "note": INTEGERS_NOTE, "integers_of": about["sha256"],
        "integers_tuned_on_batches": settings["batches"],
    }  # fmt: skip


def _rendered(folder: Path, config: dict[str, Any]) -> list[Path]:
    """The fields that choose steps and that the integers are tuned on, as `fields` makes them; kept in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{number:05d}.npy" for number in range(config["integers"]["fields"])]
    for number, path in enumerate(files):
        if not path.exists():
            partial = path.with_suffix(".part")
            with partial.open("wb") as file:
                np.save(file, make_field(config["integers"]["seed"] + number, config["fields"]))
            partial.replace(path)
    return files


def _lean(text: str) -> tuple[str, float]:
    name, _, more = text.partition("=")
    if name not in {*CLASSES, NUCLEUS}:
        raise argparse.ArgumentTypeError(f"{text}: write CLASS=X, for example tumour=0.25, or {NUCLEUS}=X")
    return name, float(more)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=WORK)
    parser.add_argument("--output", type=Path, default=HERE)
    parser.add_argument("--figures", type=Path, help="JSON that measure.py wrote")
    parser.add_argument("--note", default="", help="what else the card has to say about the training")
    parser.add_argument(
        "--share", type=float, default=1.0, help="of the trained weights, the rest of those that the run started from"
    )
    parser.add_argument("--temperature", type=float, default=1.0, help="divides the class logits; see measure.py")
    parser.add_argument(
        "--lean",
        type=_lean,
        action="append",
        default=[],
        metavar="CLASS=X",
        help="added to the logit of a class, or of a nucleus",
    )
    parser.add_argument(
        "--integers",
        type=Path,
        metavar="ONNX",
        help="write this exported network (its card beside it) in 8-bit integers",
    )
    options = parser.parse_args()
    settings = tomllib.loads((HERE / "config.toml").read_text(encoding="utf-8"))
    options.output = options.output.resolve()
    options.output.mkdir(parents=True, exist_ok=True)
    if options.integers:
        about = export_integers(options.integers, options.output, options.work, settings)
    else:
        trained, about = load_network(options.work, settings, share=options.share)
        export_onnx(trained, options.output / "model.onnx", temperature=options.temperature, lean=dict(options.lean))
        about |= {"temperature": options.temperature} | {f"lean_{name}": more for name, more in options.lean}
        about["note"] = options.note
    measured = json.loads(options.figures.read_text(encoding="utf-8")) if options.figures else {}
    write_card(
        options.output, about, measured,
        title=INTEGERS_TITLE if options.integers else TITLE,
        context_px=None if options.integers else CONTEXT_PX,
    )  # fmt: skip
