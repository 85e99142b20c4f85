"""Functions of notebooks and prompts, and the same defined again."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import pytest

from encord_agents.tasks.runner.typed_in import is_defined_again, main_is_importable


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A main module as a kernel has it: without a file."""
    main = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    return main


def defined(name: str = "agent", module: str = "__main__") -> Callable[..., Any]:
    def agent() -> str:
        return "complete"

    agent.__module__, agent.__qualname__ = module, name
    return agent


def test_the_same_name_in_a_notebook(notebook: ModuleType) -> None:
    """A function of the same name is the same, defined again; others are not, nor are those of modules."""
    assert not main_is_importable()
    assert is_defined_again(defined(), defined())
    assert not is_defined_again(defined(), defined("other"))
    assert not is_defined_again(defined(module="agents"), defined(module="agents"))
    assert is_defined_again(partial(defined()), partial(defined()))
    assert not is_defined_again(partial(defined()), partial(defined("other")))


def test_the_same_name_in_a_script(notebook: ModuleType) -> None:
    """There a second function of the same name is a mistake: a copy whose stage was not changed."""
    notebook.__file__ = __file__
    assert main_is_importable()
    assert not is_defined_again(defined(), defined())
