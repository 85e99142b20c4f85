"""The column of speeds, under the name that existing code imports it by."""

from __future__ import annotations

import pytest

from encord_agents.core import rich_columns
from encord_agents.terminal.columns import TaskSpeedColumn


def test_the_column_is_the_terminals() -> None:
    """The class is the same one under both names, so that checks of its instances agree."""
    from encord_agents.core.rich_columns import TaskSpeedColumn as Imported

    assert Imported is TaskSpeedColumn
    assert vars(rich_columns).get("TaskSpeedColumn") is None


@pytest.mark.parametrize("name", ["taskSpeedColumn", "Progress", "__path__"])
def test_other_names(name: str) -> None:
    """There are none, and the error is the one of every module, so that `hasattr` and `import` can tell."""
    assert not hasattr(rich_columns, name)
    with pytest.raises(
        AttributeError, match=rf"^module 'encord_agents\.core\.rich_columns' has no attribute '{name}'$"
    ):
        getattr(rich_columns, name)
