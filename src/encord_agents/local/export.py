"""Exports labels to files: each row as JSON, in the SDK's form, and drawn on its picture."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encord_agents.local import items
from encord_agents.local.page import classes, documents, film, pictures
from encord_agents.local.page.frames import UNKNOWN
from encord_agents.local.page.labelled import Row
from encord_agents.local.trouble import LocalPlatformError
from encord_agents.shapes import Mark, paint

if TYPE_CHECKING:
    from PIL.Image import Image

    from encord_agents.local.project import LocalProject
    from encord_agents.local.service import Service

LONGEST_NAME = 150
"""Bytes of a title that are kept in a file's name, of which most file systems allow 255."""


@dataclass
class Exported:
    """The result of an export.

    Attributes:
        rows: How many label rows were written.
        drawings: How many pictures were drawn.
        not_drawn: The rows that were not drawn, each with its reason.
    """

    rows: int = 0
    drawings: int = 0
    not_drawn: list[str] = field(default_factory=list)


def export(
    project: LocalProject,
    service: Service,
    out: Path,
    *,
    draw: bool,
    progress: Callable[[int], None] = lambda done: None,
) -> Exported:
    """Write the labels of all rows that have any to ``out/TITLE.json``, and their drawings to ``out/TITLE.png``.

    Frames of a video, pages of a PDF and members of a group that have labels are written to ``out/TITLE/NUMBER.png``.

    Raises:
        LocalPlatformError: A file cannot be written.
    """
    done = Exported()
    names: set[str] = set()
    rows: set[tuple[str, str]] = set()
    try:
        out.mkdir(parents=True, exist_ok=True)
        for task in project.tasks():
            label = project.label(task.data_hash, task.branch_name)
            if label is None:
                continue
            if (row := (task.data_hash, task.branch_name)) in rows:  # another task of the same row
                continue
            rows.add(row)
            name = _name(task.data_title, *row, names)
            text = json.dumps(label, indent=2, ensure_ascii=False)
            (out / f"{name}.json").write_text(text + "\n", encoding="utf-8")
            done.rows += 1
            progress(done.rows)
            if draw:
                _draw(service, project, label, task.data_hash, out / name, done)
    except OSError as error:
        raise LocalPlatformError(f"{error.filename or out} cannot be written: {error.strerror}.") from error
    return done


def _name(title: str, data_hash: str, branch: str, names: set[str]) -> str:
    """Return a row's file name, without directories and special characters, and add its files to those taken."""
    kept = "".join(c if c.isprintable() and c not in '/\\:*?"<>|' else "_" for c in title).strip(". ")
    kept = (kept.rpartition(".")[0] or kept or "untitled").encode()[:LONGEST_NAME].decode(errors="ignore")
    if branch != "main":
        kept += f"-{''.join(c if c.isalnum() else '_' for c in branch)[:40]}"
    told_apart = f"{kept}-{data_hash[:8]}"
    for name in itertools.chain((kept, told_apart), (f"{told_apart}-{number}" for number in itertools.count(2))):
        files = {f"{name}{suffix}".casefold() for suffix in ("", ".json", ".png")}
        if names.isdisjoint(files):
            break
    names |= files
    return name


def _draw(
    service: Service, project: LocalProject, label: dict[str, Any], data_hash: str, path: Path, done: Exported
) -> None:
    """Draw a row's labels, and count the drawings, or record why there is none."""
    with service.database.read() as connection:
        unit = connection.execute(
            "SELECT title, item, item_type, width, height FROM units WHERE data_hash = ?", (data_hash,)
        ).fetchone()
    ontology = service.catalogue.ontology(project._record.ontology)
    assert ontology is not None
    try:
        with contextlib.ExitStack() as opened:
            sizes, picture, parts = _pictures(service, unit["item"], unit, opened)
            row = Row(label, classes.read(ontology.editor), unit["item_type"], sizes, parts)
            single = unit["item_type"] == "image"
            for number in row.frames:
                try:
                    marks = [Mark(one.shape, one.label_class.rgb, one.tag) for one in row.objects(number)]
                    image = paint(picture(number), marks)
                except (ImportError, ValueError, OSError) as error:
                    done.not_drawn.append(f"{unit['title']}{'' if single else f', {number}'}: {error}")
                    continue
                if not single:
                    path.mkdir(exist_ok=True)
                image.save(f"{path}.png" if single else path / f"{number:06d}.png")
                done.drawings += 1
    except (ImportError, ValueError) as error:
        done.not_drawn.append(f"{unit['title']}: {error}")


NOT_DRAWN = {
    "audio": "labels of sound are ranges of time: they are in the JSON file",
    "plainText": "labels of text are ranges of characters: they are in the JSON file",
    "dicomFile": "DICOM is not drawn here: its labels are in the JSON file",
    "dicomSeries": "DICOM is not drawn here: its labels are in the JSON file",
    "nifti": "NIfTI is not drawn here: its labels are in the JSON file",
}
"""The reason why there is no picture, by the type of the item."""


def _pictures(
    service: Service, item: str, facts: sqlite3.Row, opened: contextlib.ExitStack
) -> tuple[Sequence[tuple[int, int]], Callable[[int], Image], Sequence[tuple[str, int]]]:
    """Return the sizes of an item's pictures, a reader of one by its number, and, for a group, each one's member.

    Raises:
        ValueError: The item has no pictures.
    """
    kind, size = facts["item_type"], (facts["width"] or UNKNOWN[0], facts["height"] or UNKNOWN[1])
    if kind in NOT_DRAWN:
        raise ValueError(NOT_DRAWN[kind])
    if kind in ("imageGroup", "imageSequence", "group"):
        members = {member["uuid"]: member for member in items.children(service.database, item)}
        reader = cache(lambda uuid: _pictures(service, uuid, members[uuid], opened))
        sizes: list[tuple[int, int]] = []
        parts: list[tuple[str, int]] = []
        for uuid, member in members.items():
            try:
                own = list(reader(uuid)[0])
            except (ImportError, ValueError, OSError):  # reported once there is something to draw
                own = [UNKNOWN]
            own = own * (member["frames"] or 1) if len(own) == 1 else own
            sizes += own
            parts += [(uuid, number) for number in range(len(own))]
        return sizes or [UNKNOWN], lambda number: reader(parts[number][0])[1](parts[number][1]), parts
    source = _file(service, item)
    if kind == "video":
        return [size], _film(source, opened).frame, ()
    if kind == "pdf":
        if not documents.can_draw():
            raise ValueError("pages are drawn with pypdfium2, which is missing: pip install 'encord-agents[pdf]'")
        pages = documents.sizes(pictures.Kept(), "", source)
        return pages or [UNKNOWN], lambda number: documents.page(source, number), ()
    return [size], lambda number: pictures.upright(source), ()


def _film(source: Path | bytes, opened: contextlib.ExitStack) -> film.Film:
    found = film.Film(source if isinstance(source, Path) else lambda: io.BytesIO(source))
    opened.callback(found.close)
    return found


def _file(service: Service, item: str) -> Path | bytes:
    row = items.asset(service.database, item)
    content = service.assets.get(row["digest"]) if row is not None and row["digest"] else None
    if content is None:
        raise ValueError("its file is not there")
    return content
