"""One frozen tree of settings: the only place for a default.

Read from TOML, changed by ``section.key=value``, written back as TOML, and digested into every output.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import tomllib
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from math import hypot
from operator import attrgetter, mul
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_serializer,
    field_validator,
    model_validator,
)

from pdl1quant.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


_MAX_COSINE = 0.995
"""Of the angle between two stains: nearer than 6 degrees they cannot be told apart (haematoxylin and DAB: 37)."""


_ASCENDING: tuple[tuple[str, str], ...] = (
    ("nuclei.min_area_um2", "nuclei.max_area_um2"),
    ("quality.min_nucleus_diameter_um", "quality.max_nucleus_diameter_um"),
    ("score.threshold_margin_od", "positivity.dab_od"),
    ("positivity.dab_od", "positivity.grade_2_od"),
    ("positivity.grade_2_od", "positivity.grade_3_od"),
)
"""Settings of which the second has to be greater than the first, or nothing is between them."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _as_written(cls, value: object, info: ValidationInfo) -> object:
        """``none``, which TOML has no word for; and no truth for a number, which pydantic would take for 0 or 1."""
        kind = cls.model_fields[info.field_name or ""].annotation
        if isinstance(value, bool) and kind is not bool:
            raise ValueError("is a setting that is neither true nor false")
        return None if value == "none" and type(None) in get_args(kind) else value


class StainsConfig(_Section):
    """White level and stain vectors."""

    assumed_white: float = Field(default=245.0, ge=128, le=255)
    """White level (0-255) used when no glass is seen and none is given; flagged, and no call is made on it."""
    min_glass_share: float = Field(default=0.01, gt=0, le=1)
    """Share of the area that has to be glass before the white level is measured from it."""
    vectors: Literal["auto", "fixed"] = "auto"
    """``auto`` estimates the stain vectors per case where both stains suffice; ``fixed`` uses those given here."""
    haematoxylin: tuple[float, float, float] = (0.650, 0.704, 0.286)
    """Fixed haematoxylin OD vector (R, G, B); Ruifrok & Johnston 2001."""
    dab: tuple[float, float, float] = Field(default=(0.268, 0.570, 0.776), validate_default=True)
    """Fixed DAB OD vector (R, G, B); Ruifrok & Johnston 2001."""
    saturated_level: int = Field(default=5, ge=0, le=64)
    """A channel at or below this level (0-255) holds no more information on the stain split."""

    @field_validator("haematoxylin", "dab")
    @classmethod
    def _is_a_colour(cls, vector: tuple[float, float, float], info: ValidationInfo) -> tuple[float, float, float]:
        if min(vector) < 0 or max(vector) == 0:
            raise ValueError("should be three ODs (R, G, B), none negative and not all 0")
        other = info.data.get("haematoxylin", vector)
        cosine = sum(map(mul, (each / hypot(*vector) for each in vector), (each / hypot(*other) for each in other)))
        if info.field_name == "dab" and "haematoxylin" in info.data and cosine > _MAX_COSINE:
            raise ValueError(f"should be another colour than stains.haematoxylin = {list(other)}")
        return vector


class QualityConfig(_Section):
    """What is not a judgeable cell."""

    pigment_od: float = Field(default=0.45, gt=0, le=3)
    """OD of neutral black (carbon, ink) from which a pixel is pigment."""
    min_pigment_share: float = Field(default=0.30, gt=0, le=1)
    """Share of a cell covered by pigment from which it is left out of the score."""
    min_saturated_share: float = Field(default=0.30, gt=0, le=1)
    """Share of a cell's pixels that are saturated from which it is flagged."""
    min_sharpness_od: float = Field(default=0.02, ge=0, le=1)
    """Edge gradient (OD per um) of a nucleus below which it counts as out of focus."""
    max_nucleus_diameter_um: float = Field(default=16.0, gt=0, le=100)
    """Median nucleus diameter above which the pixel size is doubted (twice that: refused)."""
    min_nucleus_diameter_um: float = Field(default=4.0, gt=0, le=100)
    """Median nucleus diameter below which the pixel size is doubted (half that: refused)."""


class TissueConfig(_Section):
    """Tissue against glass."""

    min_od: float = Field(default=0.03, gt=0, le=1)
    """Smoothed OD above the glass from which a place is tissue."""
    smoothing_um: float = Field(default=4.0, gt=0, le=50)
    """Standard deviation of the smoothing."""
    min_area_um2: float = Field(default=2000.0, ge=0)
    """Smaller islands are not tissue."""


class ArtefactsConfig(_Section):
    """What is no picture of tissue: looked for once per slide, at 8 um. Its cells are flagged and leave the score."""

    find: bool = True
    """Whether whole slides are searched; ``false`` leaves everything in the score that single cells do not rule out."""
    black_od: float = Field(default=0.35, gt=0, le=3)
    """OD of neutral black, averaged over 8 um, from which a place is ink, pigment or the rim of a bubble."""
    min_pen_um2: float = Field(default=20000.0, ge=0)
    """Smaller spots of foreign colour are not pen: a square of 140 um."""
    min_bubble_um2: float = Field(default=10000.0, ge=0)
    """Smaller rings are not bubbles: a circle of 110 um."""
    min_pigment_um2: float = Field(default=400.0, ge=0)
    """Smaller spots of black are left to single cells (``quality.min_pigment_share``): a square of 20 um."""
    min_fold_um: float = Field(default=150.0, ge=0)
    """Shorter bands are not folds."""
    min_fold_ratio: float = Field(default=1.4, gt=1, le=5)
    """How many times as dark as the tissue around it (240 um) a fold is at least: the section lies double or more."""
    max_fold_grain: float = Field(default=0.45, gt=0, le=1)
    """Grain for its darkness that a fold has at most, as a share of what is usual on the slide: it is out of focus."""
    max_blur_sharpness: float = Field(default=0.30, ge=0, le=1)
    """Contrast of edges (below 2 um) against that of whole nuclei (up to 8 um), from which a place is in focus. Real
    fields in focus have 0.36 to 1.5, places blurred by 5 um 0.12 to 0.25."""
    min_blur_um2: float = Field(default=20000.0, ge=0)
    """Smaller places out of focus are left to single cells (``quality.min_sharpness_od``)."""


class NucleiConfig(_Section):
    """Nucleus detection."""

    segmenter: Literal["network", "watershed", "stardist", "cellpose", "instanseg"] = "network"
    """``network`` runs an ONNX model, the shipped one finds nuclei, cells and classes; ``watershed`` finds nuclei by
    rules; ``stardist``, ``cellpose`` and ``instanseg`` run a model of your own in that library."""
    model: str = ""
    """Path of the model: for ``network`` a folder with ``card.toml`` (empty: the shipped one, ``cells-1-int8``;
    ``cells-1``: the same in float32), for other people's networks their file or folder. Results keep its last part."""
    model_sha256: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")
    """Hash of the model's files; filled in by a run, so that results say what made them. Another hash is refused."""
    model_mpp: float | None = Field(default=None, ge=0.05, le=5)
    """Pixel size (um) that the model of ``stardist`` or ``cellpose`` learnt at; ``instanseg`` models know theirs."""
    signal: Literal["haematoxylin", "od_sum"] = "haematoxylin"
    """What ``watershed`` looks at: ``haematoxylin``, or ``od_sum`` (both stains) for nuclear markers as Ki-67."""
    min_area_um2: float = Field(default=10.0, gt=0)
    """Smaller objects are not nuclei."""
    max_area_um2: float = Field(default=400.0, gt=0)
    """Larger objects are not nuclei."""

    @field_serializer("model", when_used="json")
    def _without_folders(self, model: str) -> str:
        """Results do not know where they were made; the hash says which model it was."""
        return PurePath(model).name


class CellsConfig(_Section):
    """From nucleus to cell."""

    growth_um: float = Field(default=5.0, gt=0, le=30)
    """How far a cell reaches beyond its nucleus, where no neighbour stops it; models that find cells do without."""
    lymphocyte_growth_um: float = Field(default=2.0, gt=0, le=30)
    """The same for lymphocyte-sized nuclei: farther, they would take a neighbour's membrane."""
    membrane_width_um: float = Field(default=1.0, gt=0, le=5)
    """Width of the membrane band at the cell's edge; in whole pixels of ``working_mpp``, one at least."""
    classifier: str = ""
    """Folder of a classifier made by ``pdl1quant train``, which then says what each cell is; empty: the network's own
    class scores, or rules. Results keep its last part only."""
    classifier_sha256: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")
    """Hash of its card and weights; filled in by a run, so that results say what made them. Another hash is refused."""

    @field_serializer("classifier", when_used="json")
    def _without_folders(self, classifier: str) -> str:
        """Results do not know where they were made; the hash says which classifier it was."""
        return PurePath(classifier).name


class PositivityConfig(_Section):
    """When a compartment is brown."""

    dab_od: float = Field(default=0.2, gt=0, le=3)
    """t1: DAB OD from which a compartment is brown; a working value until calibrated per scanner and lot."""
    grade_2_od: float = Field(default=0.4, gt=0, le=3)
    """DAB OD from which the grade is 2; greater than ``dab_od``."""
    grade_3_od: float = Field(default=0.6, gt=0, le=3)
    """DAB OD from which the grade is 3; greater than ``grade_2_od``."""
    min_run: float = Field(default=0.20, gt=0, le=1)
    """Share of the perimeter that one contiguous brown run has to cover."""
    min_membrane_contrast_od: float = Field(default=0.05, ge=0, le=1)
    """How far the membrane has to be above a cytoplasm that is not brown itself."""


class ScoreConfig(_Section):
    """From counts to scores and intervals."""

    block_um: float = Field(default=500.0, gt=0)
    """Side of the blocks of tissue that the interval compares."""
    min_blocks: int = Field(default=10, ge=2)
    """With fewer blocks of tumour (uneven ones count less) there is no bootstrap, and ``design_effect`` holds."""
    design_effect: float = Field(default=3.0, ge=1)
    """By how much clustering of cells shrinks their number when there are few blocks, or more where they differ."""
    likeness: float = Field(default=0.1, gt=0, le=0.5)
    """How alike cells of one block are taken to be (intraclass correlation; mean of a prior) until blocks show it.
    A working value: of 0.03, 0.05, 0.1 and 0.2 the least with which four made-up blocks held the truth at 0.2."""
    bootstrap_samples: int = Field(default=1000, ge=100, le=100_000)
    """Samples of the block bootstrap."""
    threshold_margin_od: float = Field(default=0.05, ge=0, le=1)
    """The interval covers the scores at t1 plus and minus this; less than ``positivity.dab_od``."""
    max_excluded_share: float = Field(default=0.10, gt=0, le=1)
    """With more than this share of the tumour cells left out, the result is ``partial``."""
    limit_of_blank_pct: float | None = Field(default=None, ge=0, le=100)
    """95th percentile of the score on negative-control fields; below it no call reads "at least". With controls in the
    run (``--negative-control``) the larger of it and theirs holds."""


class TilingConfig(_Section):
    """Whole slides in tiles."""

    tile_px: int | None = Field(default=None, ge=256, le=4096, multiple_of=256)
    """Side (working pixels, a multiple of 256) of the squares of a whole slide that are worked on at a time; when none
    is given, one with which a worker stays below 1 GB. Moves no number: smaller ones need less memory, and compute more
    of their margins twice."""
    outlines: bool = True
    """Whether the outlines of a whole slide's cells are written (``geojson/``)."""
    outlines_compression: Literal["none", "gzip", "zip"] = "none"
    """How they are compressed, to a fifth: QuPath opens ``zip``, most other programs read ``gzip``."""
    compare_levels: bool = False
    """Whether all that is measured is held against the overview of the slide, which tells damage that decodes to
    another picture. Costs a tenth of the time by rules, a twentieth with the network."""


class TmaConfig(_Section):
    """Tissue microarrays (``--tma``)."""

    core_um: float | None = Field(default=None, ge=200, le=5000)
    """Diameter of the cores; measured on what is round where none is given."""
    min_core_share: float = Field(default=0.25, gt=0, le=1)
    """Share of its disc that is tissue from which a core is there; below, its place counts as empty."""
    max_turn_deg: float = Field(default=10.0, ge=0, le=30)
    """How far the grid may be turned on the slide, degrees either way."""
    first: str = "A-1"
    """Name of the place at the upper left of what is seen: ``B-1`` where all of row A is lost."""

    @field_validator("first")
    @classmethod
    def _is_a_place(cls, first: str) -> str:
        if not re.fullmatch(r"[A-Z]{1,2}-[1-9][0-9]{0,2}", first):
            raise ValueError("should be a row and a column, as B-2")
        return first


class Config(_Section):
    """All settings of an analysis."""

    working_mpp: float = Field(default=0.5, ge=0.2, le=1.0)
    """Pixel size (um) at which everything is measured; images are resampled to it."""
    stains: StainsConfig = StainsConfig()
    quality: QualityConfig = QualityConfig()
    tissue: TissueConfig = TissueConfig()
    artefacts: ArtefactsConfig = ArtefactsConfig()
    nuclei: NucleiConfig = NucleiConfig()
    cells: CellsConfig = CellsConfig()
    positivity: PositivityConfig = PositivityConfig()
    score: ScoreConfig = ScoreConfig()
    tiling: TilingConfig = TilingConfig()
    tma: TmaConfig = TmaConfig()

    @model_validator(mode="after")
    def _ascends(self) -> Self:
        for smaller, larger in _ASCENDING:
            least, value = (float(attrgetter(name)(self)) for name in (smaller, larger))
            if value <= least:
                raise ValueError(f"{larger} = {value:g}: should be greater than {smaller} = {least:g}")
        return self

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits that change with any setting."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def load_config(path: Path | str | None = None, overrides: Iterable[str] = ()) -> Config:
    """Defaults, then the TOML file at ``path``, then ``section.key=value`` overrides (a list), checked once.

    Raises
    ------
    ConfigError
        An unknown key (the message names the nearest one), a wrong type, or a value out of range.
    """
    if isinstance(overrides, str):
        raise ConfigError(f"--set {overrides}: give a list of them, for example [{overrides!r}]")
    tree: dict[str, Any] = {}
    source = "--set"
    if path is not None:
        source = str(path)
        try:
            tree = tomllib.loads(decode_toml(Path(path).read_bytes()))
        except TypeError as error:
            raise ConfigError(f"{path!r}: no path of a file; Config(**settings) takes a dict") from error
        except OSError as error:
            raise ConfigError(f"{path}: cannot read the configuration ({error.strerror})") from error
        except UnicodeDecodeError as error:
            raise ConfigError(f"{path}: no text, so no settings; save those of `pdl1quant config show`") from error
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{path}: not a TOML file: {error}") from error
    for override in overrides:
        _apply(tree, str(override))
    return config_from(tree, source=source)


def decode_toml(text: bytes) -> str:
    """A TOML file's text: Windows marks UTF-8 at its beginning, and what PowerShell writes by ``>`` is UTF-16."""
    return text.decode("utf-16" if text.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "utf-8-sig")


def config_from(tree: Mapping[str, Any], *, source: str = "configuration") -> Config:
    """Settings from a nested mapping; see `load_config`."""
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(f"{source}: {_explain(error)}") from None


def config_toml(config: Config) -> str:
    """The settings as TOML, each with its meaning as a comment; reading it back gives an equal `Config`."""
    lines: list[str] = []
    sections: list[tuple[str, BaseModel]] = []
    for name, info in Config.model_fields.items():
        value = getattr(config, name)
        if isinstance(value, BaseModel):
            sections.append((name, value))
        else:
            lines += _toml_lines(name, value, info.description)
    for name, section in sections:
        lines += ["", f"[{name}]"]
        for key, info in type(section).model_fields.items():
            lines += _toml_lines(key, getattr(section, key), info.description)
    return "\n".join(lines) + "\n"


def _toml_lines(key: str, value: Any, description: str | None) -> list[str]:
    text = " ".join((description or "").split())
    if value is None:
        return [f"# {text}", f"# {key} ="]
    if isinstance(value, tuple):
        value = list(value)
    return [f"# {text}", f"{key} = {json.dumps(value)}"]


def _apply(tree: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    keys = [key.strip() for key in path.split(".")]
    if not equals or not all(keys):
        raise ConfigError(f"--set {override}: write it as section.key=value, for example nuclei.min_area_um2=20")
    try:
        value = tomllib.loads(f"value = {text.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    for key in keys[:-1]:
        tree = tree.setdefault(key, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"--set {override}: {key} is a setting, not a section")
    tree[keys[-1]] = value


_NOT_THREE = "should be three numbers, as [0.65, 0.704, 0.286]"
_PLAINER = {
    "model_type": "is a section; set one of its settings",
    "tuple_type": _NOT_THREE,
    "missing": _NOT_THREE,
    "too_long": _NOT_THREE,
    "float_parsing": "should be a number, with a point for decimals",
    "int_parsing": "should be a whole number",
}
"""What pydantic says in words of its own -> what is meant."""


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    name = ".".join(path)
    if first["type"] != "extra_forbidden":
        message = first["msg"].removeprefix("Value error, ")
        if not path:  # of two settings at once: it names both
            return message
        message = _PLAINER.get(first["type"], f"{message[:1].lower()}{message[1:]}")
        return f"{name} = {first['input']!r}: {message}"
    names = _all_names()
    alike = [each for each in names if each.split(".")[-1] == path[-1]]
    nearest = alike or difflib.get_close_matches(name, names, n=1)
    hint = f"the nearest is {' or '.join(map(repr, nearest))}" if nearest else "`pdl1quant config show` lists all"
    return f"unknown setting {name!r}; {hint}"


def _all_names() -> list[str]:
    names: list[str] = []
    for name, info in Config.model_fields.items():
        section = info.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            names += [f"{name}.{key}" for key in section.model_fields]
        else:
            names.append(name)
    return names
