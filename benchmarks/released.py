"""What this release measures on the fields of ``pdl1quant verify``.

Run ``python benchmarks/released.py`` after whatever moves a number: it writes ``released.toml``, which every
installation is then held against.
"""

from __future__ import annotations

from pathlib import Path

from pdl1quant.config import Config
from pdl1quant.networks.chosen import pin_model
from pdl1quant.validation import installation

PLACE = Path(installation.__file__).with_name(installation.RELEASED)


def main() -> None:
    """Measure, print, write."""
    print(installation.HEAD)
    lines = []
    for check in installation.check_fields(Config()):
        print(installation.line(check))
        lines.append(f'"{check.field}" = {check.found_pct:.4f}')
    head = [
        "# TPS (per cent) that this release measures on the fields of `pdl1quant verify`, with its own settings.",
        "# Written by benchmarks/released.py.",
        f'config_digest = "{pin_model(Config()).digest}"',
        "",
        "[tps_pct]",
    ]
    PLACE.write_text("\n".join([*head, *lines]) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
