"""Commands whose errors of usage quote no secret: a value that is refused may be a key in the wrong place."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from typer.core import TyperCommand, TyperGroup

from encord_agents.redaction import without_secrets

__all__ = ["CarefulCommand", "CarefulGroup"]


@contextlib.contextmanager
def _careful() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        # By its looks: new versions of typer have click's classes in a copy of their own.
        if isinstance(message := getattr(error, "message", None), str) and hasattr(error, "format_message"):
            error.message = without_secrets(message)  # type: ignore[attr-defined]
        raise


class CarefulCommand(TyperCommand):
    """A command."""

    def make_context(self, *args: Any, **more: Any) -> Any:
        """Read the arguments."""
        with _careful():
            return super().make_context(*args, **more)


class CarefulGroup(TyperGroup):
    """A command with sub-commands, which it also watches over."""

    def make_context(self, *args: Any, **more: Any) -> Any:
        """Read the arguments before the sub-command."""
        with _careful():
            return super().make_context(*args, **more)

    def invoke(self, ctx: Any) -> Any:
        """Find and run the sub-command."""
        with _careful():
            return super().invoke(ctx)
