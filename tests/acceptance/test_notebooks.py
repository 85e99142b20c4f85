"""The notebooks of docs/notebooks run from the first cell to the last, and show what their files show."""

from __future__ import annotations

import getpass
import json
import re
from pathlib import Path

import pytest
from tests.notebooks import NOTEBOOKS, alike, code_cells, outputs_of, read

ids = [path.stem for path in NOTEBOOKS]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=ids)
def test_a_notebook_runs(path: Path, tmp_path: Path) -> None:
    """No cell fails, and each puts out what is kept in the file: run ``python -m tests.notebooks`` if it should not."""
    notebook = read(path)
    found = outputs_of(notebook, tmp_path)
    for cell, outputs in zip(code_cells(notebook), found, strict=False):
        assert alike(outputs) == alike(cell["outputs"]), "".join(cell["source"])
    assert len(found) == len(code_cells(notebook))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=ids)
def test_a_notebook_that_is_run_again(path: Path, tmp_path: Path) -> None:
    """In the same kernel, no cell fails or waits for the platform of the first time."""
    notebook = read(path)
    found = outputs_of({"cells": notebook["cells"] * 2}, tmp_path)
    assert len(found) == 2 * len(code_cells(notebook))
    shown = json.dumps(found[len(found) // 2 :])
    assert '"output_type": "error"' not in shown
    assert "has not answered" not in shown


@pytest.mark.parametrize("path", NOTEBOOKS, ids=ids)
def test_there_is_something_to_look_at(path: Path) -> None:
    """Each shows a picture with labels, and a report as a table."""
    kept = json.dumps([cell["outputs"] for cell in code_cells(read(path))])
    assert "data:image/" in kept or "image/png" in kept
    assert "<th>moved</th>" in kept


@pytest.mark.parametrize("path", NOTEBOOKS, ids=ids)
def test_a_file_names_no_machine(path: Path) -> None:
    """Nothing of where it was run is in it: no path, no user, no key, no error."""
    text = path.read_text(encoding="utf-8")
    pictures = r"[\w+/=]{200,}"
    text = re.sub(pictures, "", text)
    assert not re.search(r"/(home|root|tmp|work|Users|usr|var)/", text)
    assert not re.search(rf"\b{re.escape(getpass.getuser())}\b", text) or getpass.getuser() == "root"
    assert "PRIVATE KEY" not in text
    assert '"output_type": "error"' not in text


def test_the_notebooks() -> None:
    """There are four, and docs/notebooks/README.md names each."""
    assert len(NOTEBOOKS) == 4
    page = (NOTEBOOKS[0].parent / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in NOTEBOOKS if f"({path.name})" not in page] == []
