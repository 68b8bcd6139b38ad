"""A case while it is worked on: its images, their staining, and how the work on each ended."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pdl1quant.batch.work import Image, Outcome
    from pdl1quant.model import StainEstimate
    from pdl1quant.pipeline import StainSample


@dataclass(slots=True, kw_only=True)
class Case:
    """A case while it is worked on; everything by the stem of the image."""

    name: str
    images: tuple[Image, ...]
    originals: dict[str, str] = field(default_factory=dict)
    samples: dict[str, StainSample] = field(default_factory=dict)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    earlier: tuple[frozenset[str], StainEstimate] | None = None
    estimate: StainEstimate | None = None
    hashes: frozenset[str] = frozenset()

    @property
    def open_images(self) -> tuple[Image, ...]:
        """Those that are still to be worked on, each content once."""
        return tuple(each for each in self.images if each.stem not in self.outcomes and each.stem not in self.originals)

    def is_covered(self, image: Image) -> bool:
        """Whether the estimate of an earlier run was made with this image, too."""
        return self.earlier is not None and image.sha256 in self.earlier[0]

    def key_of(self, image: Image) -> str:
        """What the result of an image depends on, besides the settings of the run."""
        assert self.estimate is not None
        estimate = json.dumps(asdict(self.estimate), sort_keys=True)
        return hashlib.sha256(f"{image.sha256}|{image.roi_sha256}|{estimate}".encode()).hexdigest()
