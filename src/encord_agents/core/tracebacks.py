"""Exceptions as text and values, whatever they are.

Agents raise what they like: frozen dataclasses, classes that refuse attributes, exceptions whose ``__str__`` raises.
Nothing in this module raises because of them. Attributes are written through `BaseException`'s own descriptors, which
no subclass can override.
"""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from encord_agents.core.legible import legible

__all__ = [
    "add_note",
    "chain",
    "described",
    "detach",
    "formatted",
    "message_of",
    "notes",
    "portable",
    "set_cause",
    "set_traceback",
    "shown",
    "traceback_of",
]

_ATTRIBUTES = BaseException.__dict__
_TRACEBACK, _CAUSE, _CONTEXT = (_ATTRIBUTES[name] for name in ("__traceback__", "__cause__", "__context__"))


def described(exception: BaseException) -> str:
    """Return the type and message of an exception, or the type alone if its message cannot be had."""
    kind = type(exception).__name__
    try:
        return legible(f"{kind}: {exception}")
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - the exception's own code raises whatever it likes
        return f"{kind}: (its message cannot be had: {type(error).__name__})"


def message_of(exception: BaseException) -> str:
    """Return the message of an exception, without its type; empty if it cannot be had."""
    try:
        return legible(str(exception)).strip()
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - the exception's own code raises whatever it likes
        return ""


def shown(value: object, most: int = 80) -> str:
    """Return the first ``most`` characters of ``repr(value)``, or say that it has none."""
    try:
        return legible(repr(value)[:most])
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - the value's own code raises whatever it likes
        return f"<{type(value).__name__} that cannot be shown: {type(error).__name__}>"


def formatted(exception: BaseException) -> str:
    """Return the traceback as Python prints it, its causes included, or only the message if it cannot be printed."""
    try:
        return legible("".join(traceback.format_exception(type(exception), exception, traceback_of(exception))))
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - the exception's own code raises whatever it likes
        frames = "".join(traceback.format_tb(traceback_of(exception)))
        return f"Traceback (most recent call last):\n{frames}{described(exception)}\n"


def notes(exception: BaseException) -> list[str]:
    """Return the notes of an exception, each as text."""
    try:
        found = getattr(exception, "__notes__", ())
        return [legible(note) if isinstance(note, str) else shown(note) for note in found]
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - the exception's own code raises whatever it likes
        return []


def add_note(exception: BaseException, note: str) -> None:
    """Add a note that is shown with the exception's traceback, once; an exception that takes none stays as it is."""
    if note in notes(exception):
        return
    try:
        BaseException.add_note(exception, note)
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - it refuses attributes
        _add_note_by_force(exception, note)


def _add_note_by_force(exception: BaseException, note: str) -> None:
    try:
        object.__setattr__(exception, "__notes__", [*notes(exception), note])
    except (AttributeError, TypeError):  # such as a property of that name
        return


def traceback_of(exception: BaseException) -> TracebackType | None:
    """Return the traceback that Python keeps, whatever the class says."""
    found: TracebackType | None = _TRACEBACK.__get__(exception)
    return found


def set_traceback(exception: BaseException, value: TracebackType | None) -> None:
    """Replace the traceback, also where the class refuses to have attributes set."""
    _TRACEBACK.__set__(exception, value)


def set_cause(exception: BaseException, cause: BaseException | None) -> None:
    """Set ``__cause__``, also where the class refuses to have attributes set."""
    _CAUSE.__set__(exception, cause)


def chain(exception: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception, its causes, its contexts and the members of groups, each once."""
    seen: set[int] = set()
    pending: list[Any] = [exception]
    while pending:
        current = pending.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        pending += [_CAUSE.__get__(current), _CONTEXT.__get__(current)]
        if isinstance(current, BaseExceptionGroup):
            pending += BaseExceptionGroup.exceptions.__get__(current)


def detach(exception: BaseException | None) -> None:
    """Remove the tracebacks of an exception and of its chain: their frames keep label rows and images alive."""
    for one in chain(exception):
        set_traceback(one, None)


def portable(exception: Exception) -> Exception | None:
    """Return the exception if another process can make the same one of its pickle, else ``None``."""
    try:
        copy = pickle.loads(pickle.dumps(exception))
        same = type(copy) is type(exception) and described(copy) == described(exception)
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - whatever it is, it cannot be sent
        return None
    return exception if same else None
