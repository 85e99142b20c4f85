"""YAML and JSON files: what is understood, and what is refused with a reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from encord_agents.local import WorkflowError
from encord_agents.local.files import read_mapping


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.yaml", "a: {b: 1}\nc: [2]", {"a": {"b": 1}, "c": [2]}),
        ("a.yml", '{"a": 1}', {"a": 1}),
        ("A.JSON", '{"a": 1}', {"a": 1}),
        ("bom.json", '\ufeff{"a": 1}', {"a": 1}),
        ("bom.yaml", "\ufeffa: 1", {"a": 1}),
        ("merge.yaml", "x: &x {a: 1, b: 2}\ny:\n  <<: *x\n  b: 3", {"x": {"a": 1, "b": 2}, "y": {"a": 1, "b": 3}}),
        (
            "merges.yaml",
            "x: &x {a: 1}\ny: &y {<<: *x, c: 2}\nz: {<<: [*y, {b: 1}]}",
            {"x": {"a": 1}, "y": {"a": 1, "c": 2}, "z": {"a": 1, "b": 1, "c": 2}},
        ),
    ],
)
def test_what_is_understood(tmp_path: Path, name: str, content: str, expected: Any) -> None:
    """YAML with merge keys, and JSON, with or without a byte order mark."""
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert read_mapping(tmp_path / name) == expected


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("none.yaml", None, "No such file"),
        ("bad.yaml", b"stages: [", "neither YAML nor JSON"),
        ("bad.json", b'{"stages": ', "neither YAML nor JSON"),
        ("binary.yaml", b"\xff\xfe\x00", "cannot be read"),
        ("list.yaml", b"- title: A", "must hold a mapping"),
        ("empty.yaml", b"", "must hold a mapping, and holds nothing"),
        ("keys.yaml", b"{[a]: b}", "neither YAML nor JSON"),
        ("merge.yaml", b"<<: 3", "neither YAML nor JSON"),
        ("twice.json", b'{"stages": [], "stages": []}', "'stages' is there twice"),
        ("twice.yaml", b"a: [{go: 1, stay: 2, go: 3}]", "'go' is there twice"),
        ("twice.yml", b"x: &x {a: 1}\ny: {<<: *x, b: 1, b: 2}", "'b' is there twice"),
        ("deep.yaml", b"[" * 5_000, "nested too deeply"),
        ("deep.json", b"[" * 100_000, "nested too deeply"),
    ],
)
def test_a_file_that_is_none(tmp_path: Path, name: str, content: bytes | None, says: str) -> None:
    """The message names the file and says what is wrong."""
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WorkflowError) as caught:
        read_mapping(path)
    assert str(path) in str(caught.value)
    assert says in str(caught.value)
