"""Train the network on rendered tissue alone: `python models/cells-1/train.py [--work DIR]`; run again to resume.

It goes on from the exported weights that ``start`` of the configuration names, or ``--start model.onnx``; ``--start
nothing`` begins with random ones.

Renders fields in a second process, draws batches in a third, trains on one thread, and on two when all fields are
rendered; writes ``log.csv`` and checkpoints to DIR, and at the end ``weights.pt``, which `export.py` turns into
``model.onnx`` and ``card.toml``. No image of a patient is read.
"""

from __future__ import annotations

import argparse
import copy
import csv
import itertools
import math
import multiprocessing
import time
import tomllib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn

from augment import draw_batch
from fields import fill_pool
from losses import kept, losses
from network import CellNet, scaled
from warm import load_exported

HERE = Path(__file__).parent
WORK = HERE.parents[1] / "build" / HERE.name
AVERAGE_EVERY = 4
LOG_EVERY = 20
BATCHES_AHEAD = 6


class Run:
    """What a checkpoint holds: network, moving average, optimiser, step and minutes spent, and where it started."""

    def __init__(self, config: dict[str, Any], work: Path) -> None:
        self.config, self.path = config, work / "checkpoint.pt"
        torch.manual_seed(config["seed"])
        make = lambda: CellNet(config["network"]["widths"]).to(memory_format=torch.channels_last)  # noqa: E731
        self.network, self.average = make(), make().eval()
        self.average.load_state_dict(self.network.state_dict())
        settings = config["training"]
        decayed = [p for p in self.network.parameters() if p.ndim > 1]
        rest = [p for p in self.network.parameters() if p.ndim <= 1]
        self.optimiser = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": settings["weight_decay"]}, {"params": rest, "weight_decay": 0.0}],
            lr=settings["learning_rate"],
        )
        self.step, self.minutes = 0, 0.0
        self.start: dict[str, torch.Tensor] = {}
        """Exported weights that the run went on from; empty when it began with random ones."""
        if self.path.exists():
            saved = torch.load(self.path, weights_only=True)
            self.network.load_state_dict(saved["network"])
            self.average.load_state_dict(saved["average"])
            self.optimiser.load_state_dict(saved["optimiser"])
            self.step, self.minutes, self.start = saved["step"], saved["minutes"], saved["start"]
        self.first = self._first()

    def start_from(self, path: Path, batch: torch.Tensor) -> None:
        """Take the weights of an exported network; ``batch`` (N, H, W, 6) are rendered fields to fit its norms to."""
        load_exported(self.network, path, as_input(batch))
        self.average.load_state_dict(self.network.state_dict())
        self.start = {name: value.clone() for name, value in self.average.state_dict().items()}
        self.first = self._first()

    def _first(self) -> CellNet | None:
        """The network as it started, where the run is to keep what that says."""
        if not self.start or self.config["training"]["truth_weight"] == 1:
            return None
        first = copy.deepcopy(self.average)
        first.load_state_dict(self.start)
        return first.eval()

    def save(self) -> None:
        """Write the checkpoint beside and rename it into place."""
        partial = self.path.with_suffix(".part")
        parts = {name: getattr(self, name).state_dict() for name in ("network", "average", "optimiser")}
        torch.save({**parts, "step": self.step, "minutes": self.minutes, "start": self.start}, partial)
        partial.replace(self.path)

    @property
    def progress(self) -> float:
        """Share of the run that is done, 0-1: by steps or by time, whichever is farther."""
        settings = self.config["training"]
        return min(1.0, max(self.step / settings["steps"], self.minutes / settings["budget_minutes"]))

    @property
    def is_done(self) -> bool:
        """Whether it is to end: all done, or ``stop_minutes`` are over."""
        return self.progress >= 1 or self.minutes >= self.config["training"]["stop_minutes"]

    def learn(self, batch: torch.Tensor, rgb: torch.Tensor) -> dict[str, float]:
        """One step over a batch and `as_input` of it; returns the parts of the loss."""
        settings = self.config["training"]
        first, last = settings["learning_rate"], settings["final_rate"]
        rate = last + (first - last) * 0.5 * (1 + math.cos(math.pi * self.progress))
        rate *= min(1.0, (self.step + 1) / settings["warm_up_steps"])
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=settings["bfloat16"]):
            nuclei, cells = self.network(rgb)
            said = None if self.first is None else self._said(rgb)
        parts = losses(nuclei.float(), cells.float(), batch)
        if said is not None:
            weight = settings["truth_weight"]
            parts = {name: part if name == "class" else weight * part for name, part in parts.items()}
            parts |= kept(nuclei.float(), cells.float(), said, batch)
        self.optimiser.zero_grad(set_to_none=True)
        sum(parts.values()).backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimiser.step()
        self.step += 1
        if self.step % AVERAGE_EVERY == 0:
            self._take_average(min(settings["average_decay"], self.step / (self.step + 10)) ** AVERAGE_EVERY)
        return {name: float(value.detach()) for name, value in parts.items()}

    @torch.no_grad()
    def _said(self, rgb: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What the network said of a batch when the run started."""
        assert self.first is not None
        nuclei, cells = self.first(rgb)
        return nuclei.float(), cells.float()

    def _take_average(self, keep: float) -> None:
        with torch.no_grad():
            for mean, now in zip(self.average.state_dict().values(), self.network.state_dict().values(), strict=True):
                mean.copy_(now) if not mean.is_floating_point() else mean.lerp_(now, 1 - keep)


def train(config: dict[str, Any], work: Path, start_from: Path | None = None) -> None:
    """The whole run, from wherever the last one stopped, or from exported weights."""
    run, settings = Run(config, work), config["training"]
    pool = work / "pool"
    pool.mkdir(parents=True, exist_ok=True)
    count = pool / "count.txt"
    first = int(count.read_text(encoding="utf-8")) if count.exists() else 0
    spawn = multiprocessing.get_context("spawn")
    renderer = spawn.Process(
        target=fill_pool, args=(str(pool), config["fields"], config["seed"] * 1000, first), daemon=True
    )
    renderer.start()
    while len(list(pool.glob("*.npy"))) < config["fields"]["warm_up"]:
        time.sleep(1)
    if start_from and run.step == 0:
        run.start_from(start_from, torch.from_numpy(drawn(sorted(pool.glob("*.npy")), config, step=-1, batch=64)))
    batches = spawn.Queue(BATCHES_AHEAD)
    drawer = spawn.Process(target=draw_batches, args=(batches, pool, config, run.step), daemon=True)
    drawer.start()
    start, saved = time.monotonic() - 60 * run.minutes, time.monotonic()
    recent: list[dict[str, float]] = []
    for _ in itertools.count():
        if run.is_done:
            break
        batch = torch.from_numpy(batches.get())
        recent.append(run.learn(batch, as_input(batch)))
        run.minutes = (time.monotonic() - start) / 60
        if run.step % LOG_EVERY == 0:
            if renderer.exitcode:
                raise SystemExit(
                    f"the renderer failed (exit code {renderer.exitcode}): mend it, and run again to resume"
                )
            if not renderer.is_alive():  # the pool is full: its processor is free
                torch.set_num_threads(2)
            write_log(work / "log.csv", run, recent, count)
            recent = []
        if time.monotonic() - saved > 60 * settings["checkpoint_minutes"]:
            run.save()
            saved = time.monotonic()
    run.save()
    torch.save(run.average.state_dict(), work / "weights.pt")
    for process in (drawer, renderer):
        process.terminate()


def draw_batches(batches: multiprocessing.Queue[np.ndarray], pool: Path, config: dict[str, Any], first: int) -> None:
    """Put the batches of step ``first`` and all after it into a queue, while it takes them."""
    cv2.setNumThreads(1)
    files: list[Path] = []
    for step in itertools.count(first):
        if not files or step % 50 == 0:
            files = sorted(pool.glob("*.npy"))
        batches.put(drawn(files, config, step=step, batch=config["training"]["batch"]))


def drawn(files: list[Path], config: dict[str, Any], *, step: int, batch: int) -> np.ndarray:
    """The batch of one step: (N, H, W, 6) uint8."""
    rng = np.random.default_rng([config["seed"], step + 1])
    return draw_batch(files, rng, batch=batch, crop_px=config["training"]["crop_px"])


def as_input(batch: torch.Tensor) -> torch.Tensor:
    """The image of a batch as the network takes it."""
    rgb = scaled(batch[..., :3].permute(0, 3, 1, 2).float())
    return rgb.contiguous(memory_format=torch.channels_last)


def write_log(path: Path, run: Run, recent: list[dict[str, float]], count: Path) -> None:
    """Append the mean of the recent losses."""
    means = {name: f"{np.mean([parts[name] for parts in recent]):.4f}" for name in recent[0]}
    rate = run.optimiser.param_groups[0]["lr"]
    rendered = count.read_text(encoding="utf-8").strip() if count.exists() else ""
    row = {"step": run.step, "minutes": f"{run.minutes:.2f}", "fields": rendered, "rate": f"{rate:.2e}", **means}
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=WORK, help="folder for the pool, checkpoints and the log")
    parser.add_argument("--config", type=Path, default=HERE / "config.toml")
    parser.add_argument("--start", help="model.onnx to go on from, or 'nothing' (default: start of the configuration)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    options.work.mkdir(parents=True, exist_ok=True)
    wanted = tomllib.loads(options.config.read_text(encoding="utf-8"))
    named = HERE / wanted["training"]["start"] if options.start is None else Path(options.start)
    if named.name != "nothing" and not named.is_file():
        parser.error(f"{named}: no such file; --start takes an exported model.onnx, or nothing")
    train(wanted, options.work, None if named.name == "nothing" else named)
