"""Names for editor agents that existing code imports from here, and where they live now."""

from __future__ import annotations

from types import ModuleType

import pytest

from encord_agents.core import data_lookup, data_model, utils
from encord_agents.core.dependencies import models, serverless
from encord_agents.editor import aliases, dependencies


@pytest.mark.parametrize(
    ("name", "home"),
    [
        ("dep_single_frame", dependencies),
        ("dep_objects", dependencies),
        ("dep_object_crops", dependencies),
        ("dep_data_lookup", dependencies),
        ("DSingleFrame", aliases),
        ("DVideoIterator", aliases),
        ("FrameData", data_model),
        ("InstanceCrop", data_model),
        ("Depends", models),
        ("DataLookup", data_lookup),
        ("download_asset", utils),
    ],
)
def test_names_are_the_same_things(name: str, home: ModuleType) -> None:
    """Dependencies, types and helpers are the very objects of their homes, so that marks and checks of both agree."""
    assert getattr(serverless, name) is getattr(home, name)


@pytest.mark.parametrize("home", [aliases, dependencies, data_model, models, data_lookup, utils])
def test_everything_public_is_there(home: ModuleType) -> None:
    """Every name that a home lists can be imported from here, also those that are added to it later."""
    assert home.__all__
    assert [name for name in home.__all__ if not hasattr(serverless, name)] == []


@pytest.mark.parametrize("name", ["Sequence", "needs_extra", "no_such_name", "__path__"])
def test_other_names(name: str) -> None:
    """Imports of the homes are not among them, and an unknown name is an error that names this module."""
    assert not hasattr(serverless, name)
    with pytest.raises(AttributeError, match=rf"^module '{serverless.__name__}' has no attribute '{name}'$"):
        getattr(serverless, name)
