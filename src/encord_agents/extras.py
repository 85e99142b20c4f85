"""The extras: the packages of each, and an error that names the extra if they are missing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Literal

from encord_agents.exceptions import MissingExtraError

__all__ = ["Extra", "needing", "require"]

Extra = Literal["vision", "pdf", "local", "celery", "fastapi", "gcp", "aws"]

NEEDED: dict[Extra, dict[str, str]] = {
    "vision": {"av": "av", "numpy": "numpy", "PIL": "pillow"},
    "pdf": {"pypdfium2": "pypdfium2", "numpy": "numpy", "PIL": "pillow"},
    "local": {
        "PIL": "pillow",
        "jinja2": "jinja2",
        "orjson": "orjson",
        "starlette": "starlette",
        "uvicorn": "uvicorn",
        "yaml": "pyyaml",
    },
    "celery": {"celery": "celery"},  # the extra's redis package is needed only if the broker is a Redis
    "fastapi": {"fastapi": "fastapi", "uvicorn": "uvicorn"},
    "gcp": {"flask": "flask"},  # the extra's functions-framework is what serves a function, here or on Google Cloud
    "aws": {},  # AWS Lambda hands over plain values
}
"""For each extra, the modules to import and the packages that contain them."""


def require(extra: Extra, what: str) -> None:
    """Check that an extra is installed, without importing it.

    Args:
        extra: The extra.
        what: The feature that needs it, as the subject of a sentence.

    Raises:
        MissingExtraError: It is not installed.
    """
    missing = [package for module, package in NEEDED[extra].items() if not _is_there(module)]
    if missing:
        raise MissingExtraError(extra, what, missing)


@contextmanager
def needing(extra: Extra, what: str) -> Iterator[None]:
    """Name the extra if a package of it that the block imports is not installed. Others of its packages may be missing.

    Args:
        extra: The extra.
        what: The feature that needs it, as the subject of a sentence.

    Raises:
        MissingExtraError: An import fails, and the extra is not installed.
    """
    try:
        yield
    except ImportError:
        require(extra, what)
        raise


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ImportError:
        return False
    except ValueError:  # a stand-in made by a test, without a spec
        return module in sys.modules
