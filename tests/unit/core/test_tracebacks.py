"""Exceptions of every manner, as text and values."""

from __future__ import annotations

import base64
import dataclasses
import random
import textwrap

import pytest
from tests.misbehaving import EXCEPTIONS

from encord_agents.core import tracebacks


class MuteError(Exception):
    def __str__(self) -> str:
        raise RuntimeError

    __repr__ = __str__


class ExitingError(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)

    __repr__ = __str__


@dataclasses.dataclass(frozen=True)
class FrozenError(Exception):
    code: int = 1


@dataclasses.dataclass(frozen=True, slots=True)
class SlottedError(Exception):
    code: int = 1


class SealedError(Exception):
    """Refuses whatever is asked of it."""

    __notes__ = property(lambda self: 1 / 0)  # type: ignore[assignment]
    __cause__ = property(lambda self: 1 / 0)  # type: ignore[assignment]
    __traceback__ = property(lambda self: 1 / 0)  # type: ignore[assignment]

    def __setattr__(self, name: str, value: object) -> None:
        raise TypeError

    def __eq__(self, other: object) -> bool:
        raise TypeError

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> str:
        raise TypeError

    def add_note(self, note: str) -> None:
        raise TypeError

    def with_traceback(self, tb: object) -> SealedError:
        raise TypeError


KINDS = [ValueError, MuteError, ExitingError, FrozenError, SlottedError, SealedError]


def raised(kind: type[Exception]) -> Exception:
    try:
        try:
            raise kind
        except Exception as cause:
            raise kind from cause
    except Exception as error:
        return error


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_raises(kind: type[Exception]) -> None:
    """Whatever the exception refuses, it is described, formatted, noted and detached."""
    error = raised(kind)
    assert tracebacks.traceback_of(error) is not None
    assert kind.__name__ in tracebacks.described(error)
    assert kind.__name__ in tracebacks.formatted(error)
    assert "in raised" in tracebacks.formatted(error)
    tracebacks.add_note(error, "a note")
    tracebacks.add_note(error, "a note")
    assert tracebacks.notes(error) == ([] if kind is SealedError else ["a note"])
    tracebacks.set_cause(error, ValueError())
    assert len(list(tracebacks.chain(error))) == 3
    tracebacks.detach(error)
    assert all(tracebacks.traceback_of(one) is None for one in tracebacks.chain(error))
    assert isinstance(tracebacks.shown(error), str)
    assert tracebacks.portable(error) in (None, error) if kind is not SealedError else True


def test_exceptions_as_text() -> None:
    """A message that cannot be shown is replaced by a note; lone surrogates become escapes."""
    assert tracebacks.described(ValueError("bad pixels")) == "ValueError: bad pixels"
    assert tracebacks.described(OSError("\ud800")) == "OSError: \\ud800"
    assert tracebacks.described(MuteError()) == "MuteError: (its message cannot be shown: RuntimeError)"
    assert tracebacks.shown("x" * 200) == "'" + "x" * 79
    assert tracebacks.shown(MuteError()) == "<MuteError that cannot be shown: RuntimeError>"


def test_a_value_is_redacted_before_it_is_cut() -> None:
    """A part of a key or of a password could not be recognised as one."""
    key = "sk-proj-" + "aB3dE5gH7" * 10
    assert tracebacks.shown(f"the model refuses the key {key}") == "'the model refuses the key ***'"
    address = "https://me:" + "hunter2" * 20 + "@models.example/v1"
    assert tracebacks.shown(f"no answer from {address}") == "'no answer from https://***@models.example/v1'"


def test_what_loggers_are_given() -> None:
    """An exception with its type and traceback, unless it would break the logger."""
    error = raised(ValueError)
    assert tracebacks.exc_info(error) == (ValueError, error, error.__traceback__)
    assert tracebacks.exc_info(SealedError()) is None


def test_chain() -> None:
    """Causes, contexts and members of groups are visited once each, circles included."""
    first, second = ValueError(1), ValueError(2)
    first.__cause__, second.__context__ = second, first
    group = ExceptionGroup("several", [first, second])
    assert list(map(id, tracebacks.chain(group))) == list(map(id, [group, second, first]))


def test_the_chain_that_is_shown() -> None:
    """A context that ``from None`` or another cause hides was dealt with; any other one counts."""
    context, cause = ValueError("context"), ValueError("cause")
    hides, handles = RuntimeError("hides"), RuntimeError("handles")
    hides.__context__ = handles.__context__ = context
    hides.__cause__ = cause
    assert list(tracebacks.shown_chain(hides)) == [hides, cause]
    assert list(tracebacks.shown_chain(handles)) == [handles, context]


def test_the_reason_of_an_exception() -> None:
    """It is the exception itself, an explicit cause of it or a member of a group; not what was handled meanwhile."""
    refused = KeyError("refused")
    wrapped, meanwhile = RuntimeError("wrapped"), RuntimeError("meanwhile")
    wrapped.__cause__, meanwhile.__context__ = refused, refused
    group = ExceptionGroup("several", [ValueError(), ExceptionGroup("more", [wrapped])])
    for error in (refused, wrapped, group):
        assert tracebacks.reason(error, (LookupError, OSError)) is refused
    assert tracebacks.reason(meanwhile, LookupError) is None
    assert tracebacks.reason(group, ()) is None


class Grown(Exception):  # noqa: N818
    def __init__(self, a: int, b: int) -> None:
        super().__init__("told")


def test_portable() -> None:
    """Only an exception that comes out of its pickle as it went in can be sent to another process."""
    good = ValueError("told")
    assert tracebacks.portable(good) is good
    assert tracebacks.portable(Grown(1, 2)) is None
    assert tracebacks.portable(ValueError(lambda: None)) is None


@pytest.mark.parametrize("kind", EXCEPTIONS)
def test_every_kind(kind: str) -> None:
    """Nothing here raises, whatever an exception refuses; what loggers cannot print is not given to them."""
    cause, error = EXCEPTIONS[kind](), EXCEPTIONS[kind]()
    tracebacks.set_cause(error, cause)
    group = BaseExceptionGroup("several", [error, BaseExceptionGroup("more", [ValueError()])])
    assert [tracebacks.type_name(one) for one in tracebacks.members(group)] == ["ValueError", kind]
    assert tracebacks.cause_of(error) is cause
    assert tracebacks.is_a(error, BaseException)
    assert not tracebacks.is_a(error, (KeyError, str))
    assert tracebacks.described(error).startswith(f"{kind}: ")
    assert tracebacks.message_of(error) in tracebacks.described(error)
    assert kind in tracebacks.formatted(error)
    assert kind in tracebacks.formatted(group)
    for given in (error, group):
        assert (info := tracebacks.exc_info(given)) is None or info[1] is given
    try:
        raise error
    except BaseException:
        trace = tracebacks.traceback_of(error)
    with tracebacks.tracebacks_kept(error):
        tracebacks.detach(group)
        assert tracebacks.traceback_of(error) is None
    assert tracebacks.traceback_of(error) is trace is not None


def test_a_signed_url_in_the_middle_of_megabytes() -> None:
    """Where the middle is left out, no part of a signature stays, whichever part of its URL is cut off."""
    address = "https://bucket.example/file.jpg?X-Amz-Expires=60&X-Amz-Signature="
    secret = "0123456789abcdef" * 64
    for shift in range(0, 1500, 100):
        text = "word " * 60_000 + address + secret + " " + "w" * (249_000 - shift) + " end"
        with pytest.raises(ValueError, match="word") as caught:
            raise ValueError(text)
        shown = tracebacks.formatted(caught.value)
        assert "characters left out" in shown
        assert "0123456789abcdef" not in shown
        assert shown.rstrip().endswith("end")


def test_keys_and_passwords_are_not_told() -> None:
    """An exception that quotes them shows neither, in whatever form it is told, and shows the rest."""
    # Not a new one each time: a line in ten thousand looks like a path.
    lines = textwrap.wrap(base64.b64encode(b"openssh-key-v1" + random.Random(1).randbytes(200)).decode(), 70)
    key = "\n".join(["-----BEGIN OPENSSH PRIVATE KEY-----", *lines, "-----END OPENSSH PRIVATE KEY-----"])
    address = "https://me:hunter2@models.example/v1"
    try:
        try:
            raise ValueError(f"the key is {key}")
        except ValueError as cause:
            raise RuntimeError(f"no answer from {address} for {key!r}") from cause
    except RuntimeError as error:
        error.add_note(f"{address} was asked with {key.splitlines()[1:]}")
        told = [tracebacks.described(error), tracebacks.message_of(error), tracebacks.shown(error, 500)]
        told += [tracebacks.formatted(error), tracebacks.marked(error), *tracebacks.notes(error)]
        tracebacks.add_note(error, error.__notes__[0])  # it is there already, although it is told in another form
        notes = tracebacks.notes(error)
    assert len(notes) == 1
    secrets = ["hunter2", *(line for line in lines if len(line) >= 40)]
    for text in told:
        assert "https://***@models.example/v1" in text
        assert not [secret for secret in secrets if secret in text]
    assert "test_keys_and_passwords_are_not_told" in told[3]


def test_what_tells_one_task_from_another_is_told() -> None:
    """Uuids, hashes, paths and titles stay in a traceback, and so do the lines of its code."""
    said = [
        "3f2504e0-4f89-11d3-9a0c-0305e82c3301",
        "9b74c9897bac770ffc029102a200c5de" * 4,
        "/Users/Jane/Documents/Projects2024/Annotation/Batch17/Images/Raw/Left/0001.jpg",
        "a_title_of_many_words_that_somebody_wrote_with_underscores_between_them_2024",
    ]
    try:
        raise ValueError(f"-----BEGIN OPENSSH PRIVATE KEY----- is missing in {said}")
    except ValueError as error:
        text = tracebacks.formatted(error)
    assert f"{said}" in text
    assert 'raise ValueError(f"-----BEGIN OPENSSH PRIVATE KEY----- is missing in {said}")' in text


def test_messages_of_megabytes() -> None:
    """Of a message the beginning is kept, of a traceback both ends; the number of characters left out is told."""
    with pytest.raises(ValueError, match="picture") as caught:
        raise ValueError("picture: " + "A" * 1_000_000)
    described = tracebacks.described(caught.value)
    assert described.startswith("ValueError: picture: AAA")
    assert described.endswith("more characters)")
    assert len(described) < 501_000
    assert len(tracebacks.message_of(caught.value)) < 501_000
    text = tracebacks.formatted(caught.value)
    assert len(text) < 501_000
    assert text.startswith("Traceback (most recent call last):")
    assert "characters left out) ..." in text
