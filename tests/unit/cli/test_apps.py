"""Apps at ``module:name``: found in the working directory, or told what is wrong with the name."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from encord_agents.cli.apps import find_app
from encord_agents.exceptions import PrintableError


class App:
    """The kind of app that is looked for."""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"apps_of_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(f"from {__name__} import App\napp = App()\nother = App()\nnumber = 5\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return name


def test_an_app(module: str) -> None:
    """By its name, or as `app`."""
    found = find_app(module, App, "example")
    assert isinstance(found, App)
    assert find_app(f"{module}:other", App, "example") is not found


@pytest.mark.parametrize(
    ("where", "said"),
    [
        (":app", "names no module"),
        (".agents", "names no module"),
        ("no_such_module:app", "There is no module 'no_such_module' here"),
        ("no_such_package.agents:app", "There is no module 'no_such_package.agents' here"),
        ("{module}:number", "has no example app 'number'. It has: app, other."),
        ("{module}:nothing", "has no example app 'nothing'"),
    ],
)
def test_what_is_no_app(module: str, where: str, said: str) -> None:
    """The message says what there is."""
    with pytest.raises(PrintableError) as raised:
        find_app(where.format(module=module), App, "example")
    assert said in str(raised.value)


@pytest.mark.parametrize("missing", ["a_module_that_is_not_there", "broken", "broken_a"])
def test_an_error_of_the_module_passes(tmp_path: Path, module: str, missing: str) -> None:
    """It is not hidden behind "no such module", also where the missing module's name begins that of the app's."""
    (tmp_path / "broken_app.py").write_text(f"import {missing}\n")
    with pytest.raises(ModuleNotFoundError, match=missing):
        find_app("broken_app", App, "example")
