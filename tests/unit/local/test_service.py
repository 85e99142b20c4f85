"""What both protocols do with what they are sent."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encord_agents.local.service import MAX_DEPTH, shallow
from encord_agents.local.trouble import Refusal


@given(kinds=st.lists(st.sampled_from(["list", "dict"]), min_size=MAX_DEPTH - 3, max_size=MAX_DEPTH + 3))
def test_how_deep_is_too_deep(kinds: list[str]) -> None:
    """Lists and objects count alike, and what stands beside them does not matter."""
    value: Any = "leaf"
    for kind in kinds:
        value = ["beside", value, [[]]] if kind == "list" else {"a": {}, "b": value}
    if len(kinds) <= MAX_DEPTH - 2:
        assert shallow(value) is value
    elif len(kinds) > MAX_DEPTH:
        with pytest.raises(Refusal) as caught:
            shallow(value)
        assert caught.value.status == 400


@pytest.mark.parametrize("value", [None, 1, "text", [], {}, {"a": None}])
def test_what_is_not_deep_at_all(value: Any) -> None:
    """Whatever it is, it passes."""
    assert shallow(value) is value
