"""Functions of the main module that other processes cannot import, such as those of a notebook's cell or a prompt."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

from encord_agents.core.dependencies.wrappers import bare

__all__ = ["PROCESS", "is_defined_again", "is_typed_in", "main_file", "main_is_importable", "only_here"]

PROCESS = uuid4().hex
"""A different text in each process, except in its forks."""

TYPED_IN = "it was defined in a notebook, or typed in"
NOT_A_SCRIPT = (
    "Python imports a script or a module there, but not the __main__.py of a package, a directory or an archive. Move "
    "the agents to a module of their own, and import the runner from it"
)


def main_file() -> str | None:
    """Return the path of the file that the main module runs; ``None`` in a notebook, and at a prompt.

    The ``__file__`` of a kernel's main module does not count: VS Code's interactive window sets it to the file whose
    cells are sent, perhaps before it is saved, and ``%run -i`` leaves it behind. While IPython's ``%run`` runs a file,
    it is also the first of the arguments.
    """
    file: str | None = getattr(sys.modules.get("__main__"), "__file__", None)
    if file is not None and "ipykernel" in sys.modules and Path(*sys.argv[:1]).resolve() != Path(file).resolve():
        return None
    return file


def main_is_importable() -> bool:
    """Return True if the main module is a script or a module, which another process can import."""
    main = sys.modules["__main__"]
    return getattr(main, "__spec__", None) is not None or Path(main_file() or "").is_file()


def is_defined_again(function: Callable[..., Any], earlier: Callable[..., Any]) -> bool:
    """Return True if a cell, or lines at a prompt, that defined the earlier function have been run again."""
    names = [_name(one) for one in (function, earlier)]
    return names[0] == names[1] and None not in names[0] and is_typed_in(function)


def is_typed_in(function: Callable[..., Any]) -> bool:
    """Return True if only this process and its forks have the function, since no file of the main module does."""
    return _name(function)[0] == "__main__" and not main_is_importable()


def only_here(function: Callable[..., Any]) -> str | None:
    """Return the reason why only this process and its forks have the function; ``None`` if others can import it."""
    if is_typed_in(function):
        return TYPED_IN
    # The names by which `multiprocessing` recognises main modules that it does not import.
    name = getattr(getattr(sys.modules["__main__"], "__spec__", None), "name", "")
    return NOT_A_SCRIPT if _name(function)[0] == "__main__" and f".{name}".endswith(".__main__") else None


def _name(function: Any) -> tuple[str | None, str | None]:
    """Return the module and name of a function, of the function in a `partial`, or of an object's class."""
    function = bare(function)
    named = function if hasattr(function, "__qualname__") else type(function)
    return getattr(named, "__module__", None), named.__qualname__
