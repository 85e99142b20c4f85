"""Files collected from a directory: one that cannot be read keeps none of the others out."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from tests import kinds

from encord_agents.local import LocalPlatform, LocalPlatformError, Stage, Workflow, media
from encord_agents.local.assets import MemoryAssets

WORKFLOW = Workflow([Stage("Annotate"), Stage("Done", "done")])
SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="10" height="8"><rect width="4" height="4"/></svg>'


def test_what_only_mentions_a_drawing(tmp_path: Path) -> None:
    """A page or a text with one in it is taken."""
    (tmp_path / "page.html").write_text(f"<!doctype html><body>{SVG}</body>")
    (tmp_path / "note.md").write_text(f"A circle: {SVG}")
    platform = LocalPlatform()
    try:
        assert platform.create_project(workflow=WORKFLOW, files=tmp_path).skipped == []
    finally:
        platform.close()


@pytest.mark.parametrize("name", ["logo.svg", "logo.SVG", "logo", "logo.xml"])
def test_drawings_are_left_out_with_a_reason(name: str, tmp_path: Path) -> None:
    """An SVG has no pixels, whatever its name; decoders that take it for a video do not decide."""
    (tmp_path / name).write_text(f'<?xml version="1.0"?>\n{SVG}')
    kinds.picture(tmp_path / "z.png")
    platform = LocalPlatform()
    try:
        project = platform.create_project(workflow=WORKFLOW, files=tmp_path)
        (reason,) = project.skipped
        assert reason.endswith(f"{name}: an SVG is a drawing, which has no pixels: convert it to a PNG first")
        assert [task.data_title for task in project.tasks()] == ["z.png"]
    finally:
        platform.close()


def test_a_decoder_that_fails_in_its_own_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a decoder raises is about that file alone."""
    read = media.read_file

    def failing(path: Path, title: str) -> media.NewUnit:
        if path.name == "a.png":
            raise AttributeError("no width")
        return read(path, title)

    monkeypatch.setattr(media, "read_file", failing)
    for name in ("a.png", "b.png"):
        kinds.picture(tmp_path / name)
    platform = LocalPlatform()
    try:
        project = platform.create_project(workflow=WORKFLOW, files=tmp_path)
        assert [task.data_title for task in project.tasks()] == ["b.png"]
        assert project.skipped == [f"{tmp_path / 'a.png'}: it cannot be read (AttributeError)"]
    finally:
        platform.close()


@pytest.mark.parametrize("option", ["files", "images"])
def test_no_room_is_no_fault_of_the_files(option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is told, and no project is made of the files that happened to fit."""

    def full(*_: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    kinds.picture(tmp_path / "a.png")
    monkeypatch.setattr(MemoryAssets, "put_file", full)
    monkeypatch.setattr(MemoryAssets, "put", full)
    platform = LocalPlatform()
    try:
        with pytest.raises(LocalPlatformError, match="no room on the disk"):
            platform.create_project(workflow=WORKFLOW, **{option: tmp_path})
        assert platform.projects() == []
    finally:
        platform.close()
