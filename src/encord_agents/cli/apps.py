"""Apps at ``module:name``, as users give them on the command line."""

from __future__ import annotations

import importlib
import os
import sys
from typing import TypeVar

from encord_agents.exceptions import PrintableError

__all__ = ["find_app"]

T = TypeVar("T")


def find_app(where: str, kind: type[T], what: str) -> T:
    """Import the app at ``module:name``; the working directory is added to the path.

    Args:
        where: The module, and after a colon the app's name. Default: ``app``.
        kind: The app's class.
        what: The class's name in messages.

    Raises:
        PrintableError: There is no such module, or no such app in it.
    """
    module_name, _, name = where.partition(":")
    how = f"Say where the {what} app is as MODULE:APP, for instance agents:app for the `app` of agents.py."
    if not module_name or module_name.startswith("."):
        raise PrintableError(f"{where!r} names no module. {how}")
    if (here := os.getcwd()) not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise PrintableError(f"There is no module {module_name!r} here ({here}). {how}") from error
    found = getattr(module, name or "app", None)
    if not isinstance(found, kind):
        apps = [key for key, value in vars(module).items() if isinstance(value, kind)]
        there = f" It has: {', '.join(apps)}." if apps else ""
        raise PrintableError(f"Module {module_name!r} has no {what} app {name or 'app'!r}.{there}")
    return found
