"""The extras: which packages each brings, and an error that names the extra where they are missing."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Literal

from encord_agents.exceptions import MissingExtraError

__all__ = ["Extra", "require"]

Extra = Literal["vision", "local", "celery"]

NEEDED: dict[Extra, dict[str, str]] = {
    "vision": {"av": "av", "numpy": "numpy", "PIL": "pillow"},
    "local": {"PIL": "pillow", "orjson": "orjson", "starlette": "starlette", "uvicorn": "uvicorn", "yaml": "pyyaml"},
    "celery": {"celery": "celery"},  # its redis is for those whose broker is one
}
"""Of each extra, the modules that are imported and the packages that have them."""


def require(extra: Extra, what: str) -> None:
    """Check that an extra is installed, without importing anything of it.

    Args:
        extra: The extra.
        what: What needs it, as the subject of a sentence.

    Raises:
        MissingExtraError: It is not.
    """
    missing = [package for module, package in NEEDED[extra].items() if not _is_there(module)]
    if missing:
        raise MissingExtraError(extra, what, missing)


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ImportError:
        return False
    except ValueError:  # a test's stand-in, which has no spec
        return module in sys.modules
