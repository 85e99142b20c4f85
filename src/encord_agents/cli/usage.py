"""Commands whose usage errors quote no secret (a rejected value may be a misplaced key), and whose help has a width."""

from __future__ import annotations

import contextlib
import os
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
        # Recognised by its attributes: new versions of typer bundle their own copy of click's classes.
        if isinstance(message := getattr(error, "message", None), str) and hasattr(error, "format_message"):
            error.message = without_secrets(message)  # type: ignore[attr-defined]
        raise


def _forget_no_width() -> None:
    """Unset ``COLUMNS=0``, exported by programs that do not know the width: the help and errors would be blank."""
    if os.environ.get("COLUMNS") == "0":
        del os.environ["COLUMNS"]


class CarefulCommand(TyperCommand):
    """A command whose usage errors quote no secret."""

    def make_context(self, *args: Any, **more: Any) -> Any:
        """Read the arguments."""
        _forget_no_width()
        with _careful():
            return super().make_context(*args, **more)


class CarefulGroup(TyperGroup):
    """A command with subcommands, whose usage errors quote no secret either."""

    def make_context(self, *args: Any, **more: Any) -> Any:
        """Read the arguments before the subcommand."""
        _forget_no_width()
        with _careful():
            return super().make_context(*args, **more)

    def invoke(self, ctx: Any) -> Any:
        """Find and run the subcommand."""
        with _careful():
            return super().invoke(ctx)
