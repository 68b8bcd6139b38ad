"""Which segmenters a benchmark runs, with which model: the options that the benchmarks share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from pdl1quant.config import load_config

if TYPE_CHECKING:
    import argparse

    from pdl1quant.config import Config

SEGMENTERS = ("watershed", "network")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--segmenter`` (may be repeated), ``--classifier`` and ``--model``."""
    parser.add_argument(
        "--segmenter", action="append", metavar="NAME", help="as nuclei.segmenter; may be repeated (default: both)"
    )
    parser.add_argument(
        "--classifier", type=Path, metavar="FOLDER", help="as cells.classifier, for the network's cells"
    )
    add_network_options(parser)


def add_network_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--model``."""
    parser.add_argument("--model", type=Path, metavar="FOLDER", help="run this network (card.toml) in place of ours")


def network_config(options: argparse.Namespace, *more: str) -> Config:
    """Settings of the segmenter ``network`` with the model chosen."""
    model = [f"nuclei.model={json.dumps(str(options.model))}"] if options.model else []
    return load_config(None, ["nuclei.segmenter=network", *model, *more])


def chosen_configs(options: argparse.Namespace, *more: str) -> dict[str, Config]:
    """Settings by segmenter; ``more`` are settings for all of them, as ``section.key=value``."""
    names = options.segmenter or list(SEGMENTERS)
    named = [f"cells.classifier={json.dumps(str(options.classifier))}"] if options.classifier else []
    return {
        name: network_config(options, *named, *more)
        if name == "network"
        else load_config(None, [f"nuclei.segmenter={name}", *more])
        for name in names
    }
