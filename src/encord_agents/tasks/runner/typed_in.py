"""Functions that were defined in a notebook's cell or at a prompt, rather than in a file."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["is_defined_again", "main_is_importable"]


def main_is_importable() -> bool:
    """Return True if the main module is a script or a module, which another process can import."""
    main = sys.modules["__main__"]
    return getattr(main, "__spec__", None) is not None or Path(getattr(main, "__file__", None) or "").is_file()


def is_defined_again(function: Callable[..., Any], earlier: Callable[..., Any]) -> bool:
    """Return True if a cell, or lines at a prompt, that defined the earlier function have been run again."""
    names = [_name(one) for one in (function, earlier)]
    return names[0] == names[1] and names[0][0] == "__main__" and None not in names[0] and not main_is_importable()


def _name(function: Any) -> tuple[str | None, str | None]:
    """Return the module and name of a function, of the function in a `partial`, or of an object's class."""
    while isinstance(function, functools.partial):
        function = function.func
    named = function if hasattr(function, "__qualname__") else type(function)
    return getattr(named, "__module__", None), named.__qualname__
