"""The one place that knows numba: a decorator that compiles a function on its first call, not before.

Importing a module with kernels stays cheap. Compiled code is kept beside the source, or in numba's cache of the user
where that cannot be written, or nowhere where there is neither; a function is compiled anew when its file changes.
"""

from __future__ import annotations

from functools import update_wrapper
from types import FunctionType
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
R = TypeVar("R")


class Kernel(Generic[P, R]):
    """A function that is compiled when it is first called.

    It takes arrays and numbers, by position; it may call other kernels of its own file.
    """

    def __init__(self, function: Callable[P, R]) -> None:
        self._function = cast("FunctionType", function)
        self._compiled: Any = None
        update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        result: R = self.compile()(*args, **kwargs)
        return result

    def compile(self) -> Any:
        """The function as numba dispatches it."""
        if self._compiled is None:
            self._compiled = _jit(_with_kernels_compiled(self._function))
        return self._compiled


def compiled(function: Callable[P, R]) -> Kernel[P, R]:
    """Make a function a `Kernel`; a decorator."""
    return Kernel(function)


def _with_kernels_compiled(function: FunctionType) -> FunctionType:
    """The function with the kernels that it calls as numba knows them."""
    names = {name: function.__globals__.get(name) for name in function.__code__.co_names}
    known = {name: value.compile() for name, value in names.items() if isinstance(value, Kernel)}
    if not known:
        return function
    same = FunctionType(function.__code__, {**function.__globals__, **known}, function.__name__)
    update_wrapper(same, function)
    return same


def _jit(function: FunctionType) -> Any:
    from numba import njit  # noqa: PLC0415 - heavy, and needed only where pixels are computed

    try:
        return njit(function, cache=True, nogil=True, error_model="numpy")
    except RuntimeError:  # neither the folder of the source nor a cache of the user can be written
        return njit(function, nogil=True, error_model="numpy")
