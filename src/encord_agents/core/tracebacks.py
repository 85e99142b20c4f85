"""Exceptions as text and values, however they behave. Keys, passwords and signed URLs are redacted from the text.

Agents may raise anything: frozen dataclasses, classes that refuse attributes, exceptions whose ``__str__`` raises.
Nothing in this module raises because of them. Attributes are written through `BaseException`'s own descriptors, which
no subclass can override.
"""

from __future__ import annotations

import pickle
import re
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, TypeGuard, TypeVar, overload

from encord_agents.core.legible import cut, legible, literally
from encord_agents.redaction import without_secrets, without_signatures

__all__ = [
    "add_note",
    "cause_of",
    "chain",
    "contained",
    "described",
    "detach",
    "exc_info",
    "formatted",
    "is_a",
    "marked",
    "members",
    "message_of",
    "notes",
    "portable",
    "reason",
    "set_cause",
    "set_traceback",
    "shown",
    "shown_chain",
    "traceback_of",
    "tracebacks_kept",
    "type_name",
]

MARK = "  | "

T = TypeVar("T")
E = TypeVar("E", bound=BaseException)

LONGEST_MESSAGE = 500_000
"""Characters of an exception's message to keep as text: some quote an image, or a server's whole response."""
LONGEST_TRACEBACK = 500_000
URL_REST = re.compile(r"\A[^\s'\"<>]+")

_ATTRIBUTES = BaseException.__dict__
_TRACEBACK, _CAUSE, _CONTEXT = (_ATTRIBUTES[name] for name in ("__traceback__", "__cause__", "__context__"))
_SUPPRESSES = _ATTRIBUTES["__suppress_context__"]
_EXCEPTIONS = BaseExceptionGroup.__dict__["exceptions"]
_TYPE_NAME = type.__dict__["__name__"]


def _is_interrupt(error: BaseException) -> bool:
    from encord_agents.core.interrupts import interrupt_in  # which needs this module

    return interrupt_in(error) is not None


class _Contained:
    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> bool:
        return error is not None and not _is_interrupt(error)


contained = _Contained()
"""A context manager that suppresses all exceptions of foreign code, even `SystemExit`, except an interrupt."""


@overload
def is_a(value: object, types: type[T]) -> TypeGuard[T]: ...
@overload
def is_a(value: object, types: tuple[type, ...]) -> bool: ...
def is_a(value: object, types: type | tuple[type, ...]) -> bool:
    """Return True if a value is an instance of a type, without asking the value: ``__class__`` may be a property."""
    return issubclass(type(value), types)


def type_name(value: object) -> str:
    """Return the name of a value's type, whatever its metaclass says."""
    name: str = _TYPE_NAME.__get__(type(value))
    return name


def described(exception: BaseException) -> str:
    """Return the type and message of an exception, truncated if it is very long."""
    kind = type_name(exception)
    try:
        return _told(cut(f"{kind}: {exception}", LONGEST_MESSAGE))
    except BaseException as error:  # the exception's own code may raise anything
        if _is_interrupt(error):
            raise
        return f"{kind}: (its message cannot be shown: {type_name(error)})"


def message_of(exception: BaseException) -> str:
    """Return the message of an exception, without its type; empty if ``str()`` of it raises."""
    with contained:
        return _told(cut(str(exception), LONGEST_MESSAGE)).strip()
    return ""


def shown(value: object, most: int = 80) -> str:
    """Return the first ``most`` characters of ``repr(value)``, or a placeholder if it raises."""
    try:
        return _told(cut(repr(value), LONGEST_MESSAGE))[:most]  # in this order: a part of a key would not be recognised
    except BaseException as error:  # the value's own code may raise anything
        if _is_interrupt(error):
            raise
        return f"<{type_name(value)} that cannot be shown: {type_name(error)}>"


def formatted(exception: BaseException) -> str:
    """Return the traceback as Python prints it, with its causes, or in a plain form if Python cannot print it.

    The middle of a very long traceback is left out.
    """
    with contained:
        return _without_middle("".join(traceback.format_exception(type(exception), exception, traceback_of(exception))))
    return _without_middle("\nIts cause, its context, or a member of it:\n\n".join(map(_plainly, chain(exception))))


def _without_middle(text: str) -> str:
    if len(text) > LONGEST_TRACEBACK:
        half = LONGEST_TRACEBACK // 2
        # From the end of a URL on: the end of one whose beginning is left out could not be recognised as a secret.
        end = URL_REST.sub("", text[-half:], count=1)
        left_out = len(text) - half - len(end)
        text = f"{text[:half]}\n... ({left_out:,} characters left out) ...\n{end}"
    return _told(text)


def _plainly(exception: BaseException) -> str:
    frames = "".join(traceback.format_tb(traceback_of(exception)))
    heading = "Traceback (most recent call last):\n" if frames else ""
    return _told(f"{heading}{frames}{described(exception)}\n")


def marked(exception: BaseException) -> str:
    """Return the traceback for a log: each line begins with a mark, so that untrusted text cannot forge a line."""
    return "\n".join(MARK + cut(line) for line in literally(formatted(exception)).rstrip().splitlines())


def exc_info(exception: BaseException) -> tuple[type[BaseException], BaseException, TracebackType | None] | None:
    """Return the ``exc_info`` for a log record, or ``None`` if loggers cannot print the exception."""
    with contained:
        traceback.format_exception(exception)
        return type(exception), exception, traceback_of(exception)
    return None


def notes(exception: BaseException) -> list[str]:
    """Return the notes of an exception, each as text."""
    with contained:
        found = getattr(exception, "__notes__", ())
        return [_told(note) if isinstance(note, str) else shown(note) for note in found]
    return []


def add_note(exception: BaseException, note: str) -> None:
    """Add a note to show with the exception's traceback, but only once. Do nothing if the exception takes no notes."""
    if _told(note) in notes(exception):
        return
    with contained:
        BaseException.add_note(exception, note)
        return
    with suppress(AttributeError, TypeError):  # it refuses attributes, or has a property of that name
        object.__setattr__(exception, "__notes__", [*notes(exception), note])


def traceback_of(exception: BaseException) -> TracebackType | None:
    """Return the traceback that Python keeps, whatever the class reports."""
    found: TracebackType | None = _TRACEBACK.__get__(exception)
    return found


def set_traceback(exception: BaseException, value: TracebackType | None) -> None:
    """Replace the traceback, even if the class refuses to have attributes set."""
    _TRACEBACK.__set__(exception, value)


def set_cause(exception: BaseException, cause: BaseException | None) -> None:
    """Set ``__cause__``, even if the class refuses to have attributes set."""
    _CAUSE.__set__(exception, cause)


def cause_of(exception: BaseException) -> BaseException | None:
    """Return the cause that Python keeps, whatever the class reports."""
    found: BaseException | None = _CAUSE.__get__(exception)
    return found


def chain(exception: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception, its causes, its contexts and the members of groups, each once."""
    return _linked(exception, lambda one: (_CAUSE.__get__(one), _CONTEXT.__get__(one)))


def shown_chain(exception: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception and its `chain`, without contexts that ``raise ... from`` hides: those were dealt with."""
    return _linked(
        exception, lambda one: (_CAUSE.__get__(one), None if _SUPPRESSES.__get__(one) else _CONTEXT.__get__(one))
    )


def reason(exception: BaseException, types: type[E] | tuple[type[E], ...]) -> E | None:
    """Return an exception if it is of some types, or else the first of its explicit causes and members that is.

    Contexts do not count: what was raised while an exception was handled has a reason of its own.
    """
    reasons = _linked(exception, lambda one: (_CAUSE.__get__(one),))
    return next((one for one in reasons if is_a(one, types)), None)


def _linked(
    exception: BaseException | None, links: Callable[[BaseException], tuple[BaseException | None, ...]]
) -> Iterator[BaseException]:
    seen: set[int] = set()
    pending: list[Any] = [exception]
    while pending:
        current = pending.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        pending += links(current)
        pending += _members(current)


def members(exception: BaseException) -> Iterator[BaseException]:
    """Yield the exceptions in a group, including those in nested groups; or the exception itself if it is not one."""
    pending = [exception]
    while pending:
        current = pending.pop()
        if not is_a(current, BaseExceptionGroup):
            yield current
        pending += _members(current)


def _members(exception: BaseException) -> tuple[BaseException, ...]:
    return _EXCEPTIONS.__get__(exception) if is_a(exception, BaseExceptionGroup) else ()


@contextmanager
def tracebacks_kept(exception: BaseException | None) -> Iterator[None]:
    """Restore the tracebacks of an exception and of its chain at the end, whatever happens to them inside."""
    kept = [(one, traceback_of(one)) for one in chain(exception)]
    try:
        yield
    finally:
        for one, tracebacks in kept:
            set_traceback(one, tracebacks)


def detach(exception: BaseException | None) -> None:
    """Remove the tracebacks of an exception and of its chain: their frames keep label rows and images alive."""
    for one in chain(exception):
        set_traceback(one, None)


def portable(exception: E) -> E | None:
    """Return the exception if another process can restore it from its pickle, otherwise ``None``."""
    with contained:  # anything that is raised here means that it cannot be sent
        copy = pickle.loads(pickle.dumps(exception))
        if type(copy) is type(exception) and _said(copy) == _said(exception):
            return exception
    return None


def _told(text: str) -> str:
    return without_signatures(without_secrets(legible(text)))


def _said(exception: BaseException) -> list[str]:
    return [described(exception), *notes(exception)]
