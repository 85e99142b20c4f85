"""The hint at the end of a report."""

from __future__ import annotations

import pytest

from encord_agents.tasks.engine.hints import LEAST_ALIKE, hint, hint_at_bundling


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


CHECK = "You exceeded your current quota, please check your plan and billing details."


@pytest.mark.parametrize(
    ("said", "attributes"),
    [
        ("no more", {"code": "insufficient_quota"}),
        ("Error code: 429 - {'error': {'code': 'insufficient_quota'}}", {}),
        (f"Error code: 429 - {CHECK}", {}),
    ],
)
def test_a_quota_that_is_used_up(said: str, attributes: dict[str, str]) -> None:
    """The line says that waiting does not help, by the exception's code or by its text, which is all that is left of
    a worker's."""
    error = type("RateLimitError", (Exception,), {"status_code": 429, **attributes})
    text = hint([("agent", error(said))] * 20) or ""
    assert "quota is used up" in text
    assert "max_consecutive_failures" in text
    assert "retry_delay" not in text


def test_a_limit_of_googles() -> None:
    """It speaks of a quota, which is one for a minute or a day."""
    text = hint([("agent", RuntimeError(f"429 RESOURCE_EXHAUSTED. {CHECK}"))] * 20) or ""
    assert "rate limit" in text


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


@pytest.mark.parametrize(
    ("own_saves", "seconds", "share"), [(1.0, 2.0, "50%"), (8.0, 8.0, "100%"), (2.01, 10.0, "20%")]
)
def test_saves_by_hand(own_saves: float, seconds: float, share: str) -> None:
    """Where they took more than a fifth of the time, the line says how much, and names the option."""
    text = hint_at_bundling(own_saves, seconds)
    assert text is not None
    assert text.startswith(f"{share} of the time went into the agents' own label_row.save() and set_priority()")
    assert "bundle_saves=True (--bundle-saves)" in text


@pytest.mark.parametrize(("own_saves", "seconds"), [(0.0, 0.0), (0.0, 1.0), (2.0, 10.0)])
def test_few_saves_by_hand(own_saves: float, seconds: float) -> None:
    """Where there is little to gain, nothing is said."""
    assert hint_at_bundling(own_saves, seconds) is None
