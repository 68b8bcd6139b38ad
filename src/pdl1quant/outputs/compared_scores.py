"""Of which scores a page that compares them with readers is: its mark, and whether the scores changed since."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final

from pdl1quant.outputs.files import AGREEMENT_NAME, REVIEWED_NAME, SCORES_NAME

if TYPE_CHECKING:
    from pathlib import Path

AGREEMENT_PAGE_NAME: Final = "agreement.html"
MARK_NAME: Final = "pdl1quant-scores"
"""Name of the meta element of the page that holds the mark."""
_MARK_WITHIN: Final = 4096
_MARK: Final = re.compile(rb'<meta name="pdl1quant-scores" content="([^"]*)">')


def scores_mark(out: Path, *, with_reviewed: bool) -> str:
    """The tables of scores of a run by their SHA-256: ``scores.csv=5f70bf18...``, and ``scores_reviewed.csv``'s."""
    names = (SCORES_NAME, REVIEWED_NAME) if with_reviewed else (SCORES_NAME,)
    return " ".join(f"{name}={_sha256(out / name)}" for name in names)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "none"


def outdated_agreement(out: Path) -> str:
    """What to say where the comparison with readers in a folder of results is of other scores than these; else empty.

    A page that was written elsewhere (``compare -o``) is not looked for.
    """
    page = out / AGREEMENT_NAME / AGREEMENT_PAGE_NAME
    if not page.is_file():
        return ""
    with page.open("rb") as file:
        found = _MARK.search(file.read(_MARK_WITHIN))
    if found is None:
        return ""
    is_of_review = REVIEWED_NAME.encode() in found[1]
    if found[1] == scores_mark(out, with_reviewed=is_of_review).encode():
        return ""
    return f"{AGREEMENT_NAME}/{AGREEMENT_PAGE_NAME}: compares readers with earlier scores; run pdl1quant compare again"
