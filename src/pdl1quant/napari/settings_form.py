"""A form of all settings, generated from `Config`: a page a section, each field with its meaning, range and default."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from magicgui.widgets import CheckBox, ComboBox, Container, FloatSpinBox, LineEdit, SpinBox
from pydantic import BaseModel
from qtpy.QtWidgets import QToolBox

from pdl1quant.config import Config, config_from
from pdl1quant.errors import ConfigError

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

TOP = "general"
_WIDEST = 1e6
"""End of fields that have no bound."""
_DECIMALS = 4
_FILLED_IN = ("model_sha256", "classifier_sha256")
"""Fields that a run fills in."""


class SettingsForm(QToolBox):
    """All settings as widgets; `config` reads them."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.fields: dict[str, Any] = {}
        for section, model, fields in _sections(config):
            widgets = []
            for key, info in fields.items():
                name = key if section == TOP else f"{section}.{key}"
                self.fields[name] = _widget(key, info, getattr(model, key))
                widgets.append(self.fields[name])
            page = Container(widgets=widgets, labels=True)
            self.addItem(page.native, section)

    @property
    def config(self) -> Config:
        """The settings as the form has them.

        Raises
        ------
        ConfigError
            A text is no value of its setting.
        """
        tree: dict[str, Any] = {}
        for name, widget in self.fields.items():
            *section, key = name.split(".")
            into = tree.setdefault(section[0], {}) if section else tree
            into[key] = _value(name, widget)
        return config_from(tree, source="settings")


def _sections(config: Config) -> list[tuple[str, BaseModel, dict[str, FieldInfo]]]:
    plain = {key: info for key, info in Config.model_fields.items() if not _is_section(info)}
    found: list[tuple[str, BaseModel, dict[str, FieldInfo]]] = [(TOP, config, plain)]
    for key, info in Config.model_fields.items():
        if _is_section(info):
            section = getattr(config, key)
            fields = {name: each for name, each in type(section).model_fields.items() if name not in _FILLED_IN}
            found.append((key, section, fields))
    return found


def _is_section(info: FieldInfo) -> bool:
    return isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel)


def _widget(key: str, info: FieldInfo, value: Any) -> Any:
    """What fits the type of a field; its meaning is the tool tip."""
    common = {"name": key, "label": key.replace("_", " "), "tooltip": " ".join((info.description or "").split())}
    if get_origin(info.annotation) is Literal:
        return ComboBox(choices=get_args(info.annotation), value=value, **common)
    if info.annotation is bool:
        return CheckBox(value=value, **common)
    low, high = _bounds(info)
    if info.annotation is int:
        return SpinBox(value=value, min=int(low), max=int(high), step=_step(info), **common)
    if info.annotation is float:
        return FloatSpinBox(value=value, min=low, max=high, step=_fine_step(value), **common)
    return LineEdit(value=_text(value), **common)


def _bounds(info: FieldInfo) -> tuple[float, float]:
    low, high = -_WIDEST, _WIDEST
    for each in info.metadata:
        match each:
            case Ge(ge=bound) | Gt(gt=bound):
                low = float(bound)  # type: ignore[arg-type]
            case Le(le=bound) | Lt(lt=bound):
                high = float(bound)  # type: ignore[arg-type]
    return low, high


def _step(info: FieldInfo) -> int:
    return next((int(each.multiple_of) for each in info.metadata if hasattr(each, "multiple_of")), 1)


def _fine_step(value: float) -> float:
    """About a twentieth of the default, a power of ten."""
    return 10.0**-_DECIMALS if value == 0 else 10.0 ** max(-_DECIMALS, len(str(int(abs(value)))) - 3)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _value(name: str, widget: Any) -> Any:
    if not isinstance(widget, LineEdit):
        return widget.value
    text = widget.value.strip()
    default = _default(name)
    if isinstance(default, str):
        return text
    if not text and default is None:
        return None
    try:
        numbers = [float(each) for each in text.split(",")]
    except ValueError as error:
        raise ConfigError(f"{name}: {text!r} is no number, or numbers with commas between them") from error
    return tuple(numbers) if isinstance(default, tuple) else numbers[0]


def _default(name: str) -> Any:
    found: Any = Config()
    for each in name.split("."):
        found = getattr(found, each)
    return found
