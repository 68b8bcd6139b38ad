"""The card of a model: what it takes and gives, what it learnt from, and the hash that ties it to its weights.

A model is a folder with ``card.toml`` and the ONNX file that it names. Without a card, or with another hash, it is
refused: nobody could say afterwards what was run.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import tomllib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from pdl1quant.config import decode_toml
from pdl1quant.errors import ModelError
from pdl1quant.model import CellClass

if TYPE_CHECKING:
    from pdl1quant.config import NucleiConfig

CARD_FILE = "card.toml"
SHIPPED_MODELS = ("cells-1-int8", "cells-1")
"""Models that come with the package: the default, in 8-bit integers (int8), and what it was made of, in float32."""
_PACKAGED = Path(__file__).parent / "weights"
_IN_SOURCE_TREE = Path(__file__).resolve().parents[3] / "models"
"""Where the wheel's copy comes from; an editable install reads it there."""


_Line = Annotated[str, Field(min_length=1, pattern=r"^[^\x00-\x1f\x7f]*$")]
_Text = Annotated[str, Field(min_length=1)]
_Hash = Annotated[
    str, BeforeValidator(lambda text: text.lower() if isinstance(text, str) else text), Field(pattern=r"^[0-9a-f]{64}$")
]
"""Windows prints hashes in capitals."""
_PATTERNS = {
    "file": "should be the name of an .onnx file beside the card",
    "sha256": "should be the 64 hexadecimal digits that sha256sum (Windows: Get-FileHash) prints for the weights",
    "name": "should be one line",
    "title": "should be one line",
    "licence": "should be one line",
}
"""What a text that does not match its pattern should be."""


class Card(BaseModel):
    """What each ``card.toml`` says, whatever the model does."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        allow_inf_nan=False,
        str_strip_whitespace=True,
    )

    name: _Line
    """Name of the model, as it stands in every output."""
    title: _Line
    """What it does, in a line."""
    file: str = Field(pattern=r"^[\w.-]+\.onnx$")
    """The weights, beside the card."""
    sha256: _Hash
    """Hash of that file."""
    licence: _Line
    """Licence of the weights."""
    training_data: _Text
    """What it learnt from."""
    limits: _Text
    """What it must not be taken for."""
    training: dict[str, Any] = {}
    """How it was trained."""
    figures: dict[str, Any] = {}
    """What was measured, and on what."""


class ModelCard(Card):
    """The card of a network that finds nuclei. Lengths in px are at ``mpp``."""

    mpp: float = Field(ge=0.05, le=5)
    """Pixel size of the input in um."""
    multiple_px: int = Field(ge=1, le=256)
    """Sides of the input are multiples of this."""
    reach_px: int = Field(ge=0, le=2048)
    """Farther pixels do not change an output, nor, with ``depth``, what lies within 14 um of it: so far what is made of
    a pixel hangs on those around it (`maps.predict`)."""
    context_px: int | None = Field(default=None, ge=0, le=2048)
    """Farther pixels change hardly a cell, as measured: a window of a slide reads so much more than it gives on each
    side; ``reach_px`` where nobody measured."""
    input: str
    """Name of the input; its height and width are free."""
    input_layout: Literal["NHWC", "NCHW"] = "NHWC"
    """Order of its axes: image, height, width, channel; or image, channel, height, width."""
    input_dtype: Literal["uint8", "float32"] = "uint8"
    """Its type: levels 0-255 as they are, or float32 (level / ``input_divisor`` - ``input_mean``) / ``input_std``."""
    input_channels: Literal["RGB", "BGR"] = "RGB"
    """Order of its channels; mean and standard deviation follow it."""
    input_divisor: float = Field(default=1.0, gt=0)
    """Levels are divided by this: 255 for models that read 0-1."""
    input_mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Taken from each channel after the division."""
    input_std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Each channel is divided by this after that."""
    nuclei: str
    """Name of the output that shows nuclei, on the grid of the input."""
    nuclei_gives: Literal["depth", "probability", "labels"] = "depth"
    """``depth``: (N, 2, H, W) float32, probability of nucleus and depth in it relative to its deepest point;
    ``probability`` alone; or ``labels``, a number for each nucleus and 0 around them."""
    nuclei_layout: Literal["NCHW", "NHWC", "NHW"] = "NCHW"
    """Order of that output's axes; other than NCHW not with ``depth``."""
    nuclei_channel: int = Field(default=0, ge=0)
    """Which channel of it is the probability, or the labels."""
    nuclei_activation: Literal["none", "sigmoid", "softmax"] = "none"
    """What turns the output into a probability, where the model does not; ``softmax`` is over its channels."""
    nuclei_threshold: float = Field(default=0.5, gt=0, lt=1)
    """A pixel is nucleus from this ``probability`` on."""
    cells: str | None = None
    """Name of the output (N, 2 + classes, h, w) float32: probability of cell, relative depth in it, class scores."""
    classes: tuple[str, ...] = ()
    """Names of the classes, in the order of the scores."""

    @model_validator(mode="after")
    def _fits_itself(self) -> Self:
        scaled = self.input_divisor != 1 or any(self.input_mean) or any(std != 1 for std in self.input_std)
        if self.input_dtype == "uint8" and scaled:
            raise ValueError("input_divisor, input_mean and input_std need input_dtype = 'float32'")
        if min(self.input_std) <= 0:
            raise ValueError("input_std has to be above 0")
        if self.nuclei_gives == "depth":
            if (self.nuclei_layout, self.nuclei_channel, self.nuclei_activation) != ("NCHW", 0, "none"):
                raise ValueError("nuclei_layout, nuclei_channel and nuclei_activation do not go with depth")
        elif self.cells is not None or self.classes:
            raise ValueError(f"cells and classes need nuclei_gives = 'depth', not {self.nuclei_gives!r}")
        if (self.cells is None) != (not self.classes):
            raise ValueError("cells and classes go together: the class scores are channels of the output cells")
        if self.nuclei_gives == "labels" and self.nuclei_activation != "none":
            raise ValueError("nuclei_activation does not go with labels")
        return self


_C = TypeVar("_C", bound=Card)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A card and the weights that belong to it."""

    card: ModelCard
    weights: Path


def shipped_folder(name: str = SHIPPED_MODELS[0]) -> Path:
    """Folder of a model that comes with the package."""
    packaged = _PACKAGED / name
    return packaged if packaged.is_dir() else _IN_SOURCE_TREE / name


def model_folder(config: NucleiConfig) -> Path:
    """Folder of the model that ``nuclei.model`` names: a path, or one of `SHIPPED_MODELS`, the first if it is empty.

    Raises
    ------
    ModelError
        It is a file, or there is no such folder, and none that comes with the package has that name.
    """
    if not config.model:
        return shipped_folder()
    folder = Path(config.model)
    if folder.is_file():
        raise ModelError(
            f"nuclei.model = {config.model}: a file; give the folder that holds {CARD_FILE} and the weights"
        )
    if folder.exists():
        return folder
    if config.model in SHIPPED_MODELS:
        return shipped_folder(config.model)
    raise ModelError(
        f"nuclei.model = {config.model}: no folder of a model; shipped by name are {' and '.join(SHIPPED_MODELS)}"
    )


def model_files(folder: Path) -> tuple[Path, ...]:
    """Card and weights: the files that make the model's results; see `load_model`."""
    return folder / CARD_FILE, load_model(folder).weights


@lru_cache(maxsize=8)
def load_model(folder: Path) -> Model:
    """Read and check the card, then the hash of the weights; once per process and folder.

    Parameters
    ----------
    folder
        Holds ``card.toml`` and the ONNX file.

    Returns
    -------
    Model
        Fit to be run.

    Raises
    ------
    ModelError
        No card, a broken one, classes that are not ours, no weights, or weights with another hash.
    """
    card = read_card(folder, ModelCard)
    known = tuple(str(name) for name in CellClass)
    if card.classes and card.classes != known:
        path = folder / CARD_FILE
        raise ModelError(f"{path}: classes are {', '.join(card.classes)}; they have to be {', '.join(known)}")
    return Model(card=card, weights=check_weights(folder, card))


def read_card(folder: Path, kind: type[_C]) -> _C:
    """The card in a folder, checked as a card of that kind; types are taken strictly.

    Raises
    ------
    ModelError
        No card, a broken one, or one of another kind.
    """
    path = folder / CARD_FILE
    try:
        said = tomllib.loads(decode_toml(path.read_bytes()))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ModelError(
            f"{path}: no such card, and without one no model is run; write it (documentation, page Models)"
        ) from error
    except OSError as error:
        raise ModelError(f"{path}: cannot read the card ({error.strerror}); check the path and its rights") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: not a TOML file: {error}") from error
    wants_classifier = "kind" in kind.model_fields
    if wants_classifier and said.get("kind") != "classifier":
        raise ModelError(f'{path}: no kind = "classifier"; a network that finds nuclei is given as nuclei.model')
    if not wants_classifier and said.get("kind") == "classifier":
        raise ModelError(f"{path}: the card of a classifier; give it as --classifier, or as cells.classifier")
    try:
        return kind.model_validate_json(json.dumps(said, default=str), strict=True)
    except ValidationError as error:
        raise ModelError(f"{path}: {_explain(error, said, kind)}") from None


def check_weights(folder: Path, card: Card) -> Path:
    """The file that a card names.

    Raises
    ------
    ModelError
        It is missing, or has another hash than the card says.
    """
    weights = folder / card.file
    try:
        digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    except OSError as error:
        raise ModelError(
            f"{weights}: cannot read the weights ({error.strerror}); put them beside the card, or mend file in it"
        ) from error
    if digest != card.sha256:
        raise ModelError(
            f"{weights}: sha256 is {digest[:12]}..., its card says {card.sha256[:12]}...; "
            "get both anew, or, if you changed the weights, write their hash into the card"
        )
    return weights


def _explain(error: ValidationError, said: dict[str, Any], kind: type[Card]) -> str:
    """The first thing wrong: a key that nobody knows before one that is missing, which may be the same misspelt."""
    found = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
    if not found["loc"]:
        return found["msg"].removeprefix("Value error, ")
    key = str(found["loc"][0])
    if found["type"] == "extra_forbidden":
        nearest = difflib.get_close_matches(key, kind.model_fields, n=1)
        return (
            f"unknown key {key!r}; {f'the nearest is {nearest[0]!r}' if nearest else 'notes belong under [training]'}"
        )
    if found["type"] == "missing" and len(found["loc"]) == 1:
        meaning = " ".join((kind.model_fields[key].description or "").replace("``", "").split())
        return f"no key {key!r}: {meaning[:1].lower()}{meaning[1:].partition('. ')[0].rstrip('.')}; add it"
    if found["type"] == "missing":
        return f"{key} = {said[key]!r}: has too few values"
    message = _PATTERNS.get(key, "") if found["type"] == "string_pattern_mismatch" else ""
    message = message or found["msg"].removeprefix("Value error, ")
    return f"{key} = {said[key]!r}: {message[:1].lower()}{message[1:]}"
