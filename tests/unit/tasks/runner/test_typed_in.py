"""Functions of notebooks and prompts, and the same defined again."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import pytest

from encord_agents.tasks.runner.typed_in import (
    is_defined_again,
    is_typed_in,
    main_file,
    main_is_importable,
    only_here,
)


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
    assert is_typed_in(partial(defined()))
    assert not is_typed_in(defined(module="agents"))
    assert is_defined_again(partial(defined()), partial(defined()))
    assert not is_defined_again(partial(defined()), partial(defined("other")))


def test_the_file_of_a_kernel(notebook: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the file that ``%run`` runs just now, and not one whose cells an editor sends, perhaps unsaved."""
    notebook.__file__ = __file__
    monkeypatch.setitem(sys.modules, "ipykernel", ModuleType("ipykernel"))
    monkeypatch.setattr(sys, "argv", ["/lib/ipykernel_launcher.py", "-f", "kernel.json"])
    assert main_file() is None
    assert not main_is_importable()
    assert is_defined_again(defined(), defined())
    monkeypatch.setattr(sys, "argv", [])
    assert main_file() is None
    monkeypatch.setattr(sys, "argv", [os.path.relpath(__file__)])
    assert main_file() == __file__
    assert main_is_importable()


def test_the_same_name_in_a_script(notebook: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """There a second function of the same name is a mistake: a copy whose stage was not changed."""
    notebook.__file__ = __file__
    monkeypatch.setattr(sys, "argv", [__file__])
    assert main_is_importable()
    assert not is_defined_again(defined(), defined())


@pytest.mark.parametrize(
    ("name", "there"),
    [("pkg.__main__", False), ("__main__", False), ("pkg.agents", True), ("agents__main__", True), (None, False)],
)
def test_what_other_processes_import(notebook: ModuleType, name: str | None, there: bool) -> None:
    """A main module that was run by its name, but not the ``__main__.py`` of a package, a directory or an archive."""
    notebook.__spec__ = None if name is None else ModuleSpec(name, None)
    why = only_here(defined())
    assert (why is None) == there
    assert there or ("in a notebook" if name is None else "agents to a module of their own") in str(why)
    assert only_here(defined(module="agents")) is None
