"""Files of directories: what is taken, what becomes a group, what is left out with its reason."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from tests import kinds

from encord_agents.local import LocalPlatform, LocalPlatformError, LocalProject, Stage, Workflow, media
from encord_agents.local.assets import MemoryAssets
from encord_agents.local.collecting import collect, counted, one_usable
from encord_agents.local.images import png
from encord_agents.pictures import BrokenPictureError, Picture

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


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name in ("a.png", "left/1.png", "left/2.png", "right/1.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(png(4, 3))
    kinds.pdf(tmp_path / "left" / "pages.pdf")
    (tmp_path / "core.bin").write_bytes(b"\0\1\2")
    (tmp_path / "empty.png").touch()
    return tmp_path


def test_files_of_a_directory(files: Path) -> None:
    """By their content, titled by their way from where it began; the same file is kept once."""
    assets = MemoryAssets()
    found = collect(files, assets)
    assert [unit.title for unit in found.units] == [
        "a.png",
        "left/1.png",
        "left/2.png",
        "left/pages.pdf",
        "right/1.png",
    ]
    assert len({unit.digest for unit in found.units}) == 2
    assert [line.partition(": ")[2] for line in found.skipped] == ["of no kind that the platform takes", "it is empty"]


def test_groups(files: Path) -> None:
    """The pictures of each directory are one; files of other kinds stay what they are."""
    found = collect(files, MemoryAssets(), groups="group")
    assert [(group.title, len(members)) for group, members in found.groups] == [
        (files.name, 1),
        ("left", 2),
        ("right", 1),
    ]
    assert [unit.title for unit in found.units] == ["left/pages.pdf"]
    with pytest.raises(LocalPlatformError, match="groups: must be 'group' or 'sequence', not 'grup'"):
        collect(files, MemoryAssets(), groups="grup")  # type: ignore[arg-type]


def test_nothing_to_take(tmp_path: Path) -> None:
    """It is an error where there must be something, and names what was left out."""
    assert collect(tmp_path, MemoryAssets()).units == []
    with pytest.raises(LocalPlatformError, match="There is no file in"):
        collect(tmp_path, MemoryAssets(), some=True)
    (tmp_path / "core.bin").write_bytes(b"\0")
    for call in (lambda: collect(tmp_path, MemoryAssets(), some=True), lambda: one_usable(tmp_path)):
        with pytest.raises(LocalPlatformError, match=r"(?s)could be used.*1 file that is of no kind.*1 \.bin"):
            call()
    with pytest.raises(LocalPlatformError, match="does not exist"):
        collect(tmp_path / "none", MemoryAssets())


def test_folders_that_cannot_be_read(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are named as files are, and the others are taken."""
    scandir = os.scandir

    def closed(path: Any) -> Any:  # not by permissions, which do not count for root
        if Path(path).name in names:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    names = {"left"}
    found = collect(files, MemoryAssets())
    assert [unit.title for unit in found.units] == ["a.png", "right/1.png"]
    assert f"{files / 'left'}: Permission denied" in found.skipped
    names = {files.name}
    for call in (lambda: collect(files, MemoryAssets(), some=True), lambda: one_usable(files)):
        with pytest.raises(LocalPlatformError, match=f"(?s)could be used.*{files}: Permission denied"):
            call()


def test_a_project_of_files(platform: LocalPlatform, project: LocalProject, files: Path) -> None:
    """Data units in order: files first, then groups."""
    assert len(project.add_files(files, groups="group")) == 4
    assert counted(project.item_types()[3:]) == "1 PDF, 3 image groups"
    assert len(project.add_images(files)) == 4
    with pytest.raises(LocalPlatformError, match="give one of the two"):
        platform.create_project(workflow={"stages": [{"title": "A", "type": "agent"}]}, images=files, files=files)


def test_a_sequence_that_cannot_be(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory and its picture are named."""

    def broken(self: Picture) -> None:
        raise BrokenPictureError("its pixels cannot be converted to RGB")

    monkeypatch.setattr(Picture, "pixels", broken)
    with pytest.raises(LocalPlatformError, match=r"left cannot become a sequence: 1\.png cannot be read"):
        collect(files / "left" / "1.png", MemoryAssets(), groups="sequence")
