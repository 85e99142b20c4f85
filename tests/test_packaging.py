"""What is installed is what was meant to be: version, types, extras, licence; and importing it is cheap."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import metadata, requires, version
from importlib.resources import files
from pathlib import Path

import pytest

import encord_agents

ROOT = Path(__file__).parent.parent
SLOW_TO_IMPORT = {"rich", "typer", "av", "cv2", "PIL", "skimage", "starlette"}


def test_the_version() -> None:
    """The package says the version that it was installed as."""
    assert encord_agents.__version__ == "0.3.0.dev0"
    assert version("encord-agents") == encord_agents.__version__


def test_the_changelog_knows_the_version() -> None:
    """The version has an entry in the changelog."""
    assert f"## {encord_agents.__version__} " in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_package_is_typed() -> None:
    """Type checkers of users see the annotations."""
    assert files("encord_agents").joinpath("py.typed").is_file()


@pytest.mark.parametrize("extra", ["vision", "local", "celery", "demo", "fastapi", "gcp"])
def test_extras(extra: str) -> None:
    """``pip install '.[extra]'`` knows the extra, and it brings something."""
    assert extra in (metadata("encord-agents").get_all("Provides-Extra") or [])
    assert any(f"extra == '{extra}'" in one.replace('"', "'") for one in requires("encord-agents") or [])


def test_the_oldest_python() -> None:
    """Python 3.11 is enough, and nothing older is."""
    assert metadata("encord-agents")["Requires-Python"] == ">=3.11"


def test_the_licence() -> None:
    """The licence is Apache-2.0, in the metadata and in full."""
    assert metadata("encord-agents")["License-Expression"] == "Apache-2.0"
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert re.match(r"\s*Apache License\s+Version 2\.0, January 2004\s", text)
    assert "END OF TERMS AND CONDITIONS" in text


def test_the_development_pins_are_names_and_versions() -> None:
    """``constraints.txt`` pins exactly, perhaps for some Pythons, and says nothing of where packages come from."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert pins
    pinned = r"[A-Za-z0-9][\w.-]*==[0-9][\w.+!]*(; python_version [<>]=? \"3\.\d+\")?"
    assert [pin for pin in pins if not re.fullmatch(pinned, pin)] == []
    assert not any("://" in line for line in lines)


IMPORTED = """
import importlib, json, sys
for module in sys.argv[1:]:
    importlib.import_module(module)
    print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))
"""


def test_imports_load_only_what_every_run_needs() -> None:
    """``import encord_agents`` is for reading the version, and for pytest's plugin: it costs next to nothing. Importing
    agents loads the SDK, but no terminal, no vision library and no server: those are loaded by who uses them."""
    package = ["encord_agents", "encord_agents.local.pytest_plugin"]
    agents = ["encord_agents.core.data_model", "encord_agents.tasks", "encord_agents.tasks.dependencies"]
    # In one interpreter: what is loaded by one of them is there after those that follow, too.
    # -W: the SDK's own import warns under recent versions of pydantic
    command = [sys.executable, "-W", "ignore", "-c", IMPORTED, *package, *agents]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    loaded = {
        module: set(json.loads(line)) for module, line in zip(package + agents, done.stdout.splitlines(), strict=True)
    }
    assert [module for module in package if "encord" in loaded[module]] == []
    assert "encord" in loaded["encord_agents.tasks"]
    assert {module: SLOW_TO_IMPORT & names for module, names in loaded.items() if SLOW_TO_IMPORT & names} == {}
