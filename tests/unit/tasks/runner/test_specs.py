"""Tasks as engines give them: in any form that names one, and refused one by one."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encord_agents.tasks.models import NO_TASK
from encord_agents.tasks.runner.specs import Spec, read_spec, read_specs

GOOD = {"uuid": str(UUID(int=1)), "data_hash": str(UUID(int=2)), "status": "QUEUED"}
SPEC = Spec(UUID(int=1), UUID(int=2))


@pytest.mark.parametrize(
    "given",
    [
        GOOD,
        json.dumps(GOOD),
        json.dumps(GOOD).encode(),
        [GOOD],
        (json.dumps(GOOD),),
        json.dumps([GOOD]),
        {"uuid": GOOD["uuid"], "dataHash": GOOD["data_hash"]},
        {"uuid": UUID(int=1), "data_hash": UUID(int=2)},
    ],
)
def test_forms_of_a_task(given: Any) -> None:
    """JSON text, a dict, a list of either, in both spellings of the platform."""
    assert read_specs(given) == [SPEC]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("{", "it is not JSON"),
        ("[" * 100_000, "it is not JSON"),
        (5, "it is of type int"),
        (None, "it is of type NoneType"),
        ({}, "it has no valid 'uuid'"),
        ({"uuid": GOOD["uuid"]}, "it has no valid 'data_hash'"),
        ({"uuid": "x", "data_hash": "y"}, "it has no valid 'uuid'"),
    ],
)
def test_what_names_no_task(given: Any, why: str) -> None:
    """It is told why, on one short line."""
    found = read_spec(given)
    assert found.error is not None
    assert f"This is not a task: {why}" in found.error
    assert "\n" not in found.error
    assert len(found.error) < 600


def test_a_malformed_task_spares_the_others_of_its_list() -> None:
    """One that has a uuid keeps it, so that its engine can tell which it was."""
    good, named, nameless = read_specs([GOOD, {"uuid": GOOD["uuid"]}, "x"])
    assert good == SPEC
    assert (named.uuid, nameless.uuid) == (UUID(int=1), NO_TASK)


def test_no_secret_is_quoted() -> None:
    """A key that was given in place of a task is not shown."""
    found = read_spec(
        "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\n-----END OPENSSH PRIVATE KEY-----"
    )
    assert "b3BlbnNzaC1rZXk" not in (found.error or "")


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_anything(given: Any) -> None:
    """Nothing that is given raises."""
    assert all(isinstance(one, Spec) for one in read_specs(given))
