"""Faults: which request each happens to, and which could never happen."""

from __future__ import annotations

from typing import Any

import pytest

from encord_agents.local import Fault, Faults, LocalPlatformError
from encord_agents.local.faults import read_fault


def take(faults: Faults, kind: str = "save", body: bytes = b"", path: str = "/x", envelope: bool = False) -> int | None:
    found = faults.take(kind, body, path, envelope=envelope)
    return None if found is None else found.status


def test_the_oldest_that_matches_happens() -> None:
    """So often as it says, after those that it lets through."""
    faults = Faults()
    faults.add(Fault("save", times=2, skip=1, status=501))
    faults.add(Fault(times=None, status=502))
    assert [take(faults) for _ in range(5)] == [502, 501, 501, 502, 502]
    assert take(faults, "tasks") == 502
    assert [fault.status for fault in faults.pending] == [502]
    faults.clear()
    assert take(faults) is None
    assert faults.cleared == 1


def test_only_some_requests() -> None:
    """Those of a text in body or path; errors in an envelope only where there is one."""
    faults = Faults()
    faults.add(Fault(contains="needle", times=None, status=501))
    faults.add(Fault(action="envelope", times=None, status=502))
    assert take(faults, body=b"a needle") == 501
    assert take(faults, path="/x?needle") == 501
    assert take(faults) is None
    assert take(faults, envelope=True) == 502


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"action": "drop"}, "action: must be 'status', 'drop_before'"),
        ({"status": 99}, "status: must be at least 100"),
        ({"times": True}, "times: must be a whole number"),
        ({"skip": -1}, "skip: must be at least 0"),
        ({"seconds": float("inf")}, "seconds: must be a number"),
        ({"kind": 3}, "kind: must be text"),
        ({"body": {}}, "body: must be text"),
    ],
)
def test_a_fault_that_cannot_happen(given: dict[str, Any], says: str) -> None:
    """It is refused when it is asked for, and not found out when it does not happen."""
    with pytest.raises(LocalPlatformError, match=says):
        Faults().add(Fault(**given))
    with pytest.raises(LocalPlatformError, match=says):
        read_fault(given)


def test_a_fault_by_its_fields() -> None:
    """As it comes over HTTP; other fields are named."""
    assert read_fault({"kind": "save", "retry_after": 3}) == Fault("save", retry_after=3)
    with pytest.raises(LocalPlatformError, match=r"there is no 'statos' here.*did you mean 'status'"):
        read_fault({"statos": 3})
