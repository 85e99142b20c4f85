"""The hint at the end of a report."""

from __future__ import annotations

import pytest

from encord_agents.tasks.engine.hints import LEAST_ALIKE, hint


class RateLimitError(Exception):
    """As hosted models' clients raise."""

    status_code = 429


def failures(number: int, error: type[Exception] = TimeoutError, phase: str = "agent") -> list[tuple[str, Exception]]:
    return [
        (phase, error(f"request {index} to 'model-{index}' at 0x{index:x} took {index}.5 s")) for index in range(number)
    ]


def test_failures_that_are_alike() -> None:
    """Their messages may differ in numbers, addresses and what is quoted; one line names both options."""
    text = hint(failures(LEAST_ALIKE))
    assert text is not None
    assert text.startswith("10 of 10 failures are alike (TimeoutError: request 0 to 'model-0' at 0x0 took 0.5 s).")
    assert "retry_delay" in text
    assert "max_consecutive_failures" in text
    assert "\n" not in text


@pytest.mark.parametrize(
    "found",
    [
        [],
        failures(LEAST_ALIKE - 1),
        [*failures(LEAST_ALIKE), *[("agent", ValueError(letter * 3)) for letter in "abcd"]],
        [(None, None)] * 20,
    ],
    ids=["none", "few", "various", "no exceptions"],
)
def test_no_hint(found: list[tuple[str | None, Exception | None]]) -> None:
    """Where failures are few, or of many kinds."""
    assert hint(found) is None


@pytest.mark.parametrize("error", [RateLimitError, type("WorkerError", (Exception,), {})])
def test_a_rate_limit_is_called_one(error: type[Exception]) -> None:
    """By what the exception says, or its text, which is all that is left of a worker's."""
    found = [("agent", error(f"RateLimitError: Error code: 429, request {index}")) for index in range(20)]
    assert "rate limit" in (hint(found) or "")


def test_refused_labels() -> None:
    """Waiting does not help there."""
    text = hint(failures(20, phase="save")) or ""
    assert "max_consecutive_failures" in text
    assert "retry_delay" not in text


def test_exceptions_that_cannot_be_shown() -> None:
    """They are alike, too."""

    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert "MuteError" in (hint([("agent", MuteError())] * 20) or "")
