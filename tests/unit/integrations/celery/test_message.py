"""Messages as they come: what names a task is a task, and whatever else is in them is told or ignored."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encord_agents.integrations.celery.message import Batch, read
from encord_agents.tasks.models import NO_TASK

UUID_1 = "11111111-1111-4111-8111-111111111111"
UUID_2 = "22222222-2222-4222-8222-222222222222"
GOOD = {"uuid": UUID_1, "data_hash": UUID_2, "data_title": "one.png"}
OTHER = {**GOOD, "uuid": UUID_2}


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"data_hash": UUID_2}, "it has no valid 'uuid'"),
        ({"uuid": None, "data_hash": UUID_2}, "it has no valid 'uuid'"),
        ({"uuid": ["a"], "data_hash": UUID_2}, "it has no valid 'uuid'"),
        ({"uuid": 5, "data_hash": UUID_2}, "it has no valid 'uuid'"),
        ({"uuid": "zz", "data_hash": UUID_2}, "it has no valid 'uuid'"),
        ({"uuid": "z" * 5_000_000, "data_hash": UUID_2}, "it has no valid 'uuid'"),
        ({"uuid": UUID_1, "data_hash": "zz"}, "it has no valid 'data_hash'"),
        ({"uuid": UUID_1}, "it has no valid 'data_hash'"),
        ("x", "it is of type str"),
        (None, "it is of type NoneType"),
        ([GOOD], "it is of type list"),
    ],
)
def test_a_malformed_task_fails_alone(spec: Any, said: str) -> None:
    """In phase ``spec``, with the reason and the beginning of what was given; the others of its message are spared."""
    batch, malformed = read([GOOD, spec, OTHER], {})
    assert batch.specs == [GOOD, OTHER]
    (result,) = malformed
    assert (result.outcome, result.phase, result.retryable) == ("failed", "spec", False)
    assert said in (result.error or "")
    assert len(result.error or "") < 500


@pytest.mark.parametrize("specs", [None, "abc", 5, {"uuid": UUID_1}])
def test_no_list_of_tasks(specs: Any) -> None:
    """It is one malformed task, not one for each of its characters or keys."""
    batch, malformed = read(specs, {})
    assert (batch.specs, len(malformed)) == ([], 1)


def test_a_malformed_task_that_is_named() -> None:
    """Its uuid is told, so that it can be marked."""
    _, (named, nameless) = read([{"uuid": UUID_1}, {}], {})
    assert (str(named.task_uuid), nameless.task_uuid) == (UUID_1, NO_TASK)


def test_a_task_is_once_in_a_batch_by_the_uuid_that_is_told_of_it() -> None:
    """However its uuid is written: what became of it would not be found under another spelling."""
    batch, malformed = read([{**GOOD, "uuid": UUID_1.replace("-", "").upper()}, GOOD], {})
    assert (batch.specs, malformed) == ([GOOD], [])


def test_ids_in_camel_case() -> None:
    """As the platform's own messages write them."""
    batch, _ = read([{"uuid": UUID_1, "dataHash": UUID_2}], {})
    assert batch.specs[0]["data_hash"] == UUID_2


def test_fields_of_a_newer_version_are_ignored(caplog: pytest.LogCaptureFixture) -> None:
    """Without a word; the known ones count."""
    batch, malformed = read([GOOD], {"lost": 2, "newer": {"a": 1}})
    assert (batch, malformed, caplog.text) == (Batch([GOOD], lost=2), [], "")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lost", "a"),
        ("lost", -1),
        ("lost", True),
        ("sure", "yes"),
        ("refused", None),
        ("ended", [1]),
        ("ended", {"moved": "many"}),
        ("errors", "abc"),
        ("errors", [1]),
        ("first", {"a": 1}),
    ],
)
def test_a_malformed_field_is_ignored(name: str, value: Any, caplog: pytest.LogCaptureFixture) -> None:
    """With a warning that names it: it is no reason to leave tasks undone."""
    with caplog.at_level(logging.WARNING):
        batch, malformed = read([GOOD], {name: value})
    assert (batch, malformed) == (Batch([GOOD]), [])
    assert f"malformed {name}: ignored" in caplog.text


def test_a_message_is_read_as_it_was_written() -> None:
    """Through JSON, with each field."""
    batch = Batch([GOOD], 1, True, 3, {"moved": 2}, ["a: b"], {UUID_1: "ValueError"})
    message = json.loads(json.dumps(batch.message()))
    assert read(message.pop("specs"), message) == (batch, [])


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(UUID_1),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text() | st.sampled_from(["uuid", "data_hash", "dataHash"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(ANYTHING, st.dictionaries(st.sampled_from(["lost", "sure", "ended", "first", "errors", "x"]), ANYTHING))
def test_whatever_is_in_a_message(specs: Any, more: dict[str, Any]) -> None:
    """Reading it raises nothing, and each of its specifications is a task, a double of one, or a failure."""
    batch, malformed = read(specs, more)
    number = len(specs) if isinstance(specs, list) else 1
    assert len(batch.specs) + len(malformed) <= number
    assert bool(number) == bool(batch.specs or malformed)
    assert json.dumps(batch.message())
