"""``python -m pdl1quant``."""

from __future__ import annotations

from pdl1quant.cli import main

if __name__ == "__main__":
    main()
