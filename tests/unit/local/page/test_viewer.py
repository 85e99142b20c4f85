"""The page of one task: which frame, which version and which labels an address shows."""

from __future__ import annotations

import itertools
import random
from typing import Any

import orjson
import pytest
from tests.unit.local.asking import NOBODY, refused
from tests.unit.local.page.counted import counted
from tests.unit.local.page.looking import attributes, for_task, html, request, row_of, text
from tests.unit.local.rows import BOX, boxed, saved

from encord_agents.local import LocalProject, editor_agents, labels
from encord_agents.local.page import viewer
from encord_agents.local.page.classes import Classes, LabelClass
from encord_agents.local.page.labelled import Row
from encord_agents.local.page.pages import Pages
from encord_agents.local.page.viewer import FRAMES_AT_ONCE


def film(project: LocalProject, frames: int = 50, **by_frame: dict[str, Any]) -> int:
    """Add a video, with labels on some frames (``f7={...}``). Returns the number of its task."""
    project.add_file("film", b"", item_type="video", mime_type="video/mp4", width=1800, height=10, frames=frames, fps=5)
    label(project, {name[1:]: {"objects": [found]} for name, found in by_frame.items()})
    return len(project.tasks()) - 1


def label(project: LocalProject, by_frame: dict[str, Any]) -> None:
    """Give the last task of a project labels, as they are."""
    row = row_of(project, -1)
    content = {"data_units": {row["data_hash"]: {"labels": by_frame}}}
    with project._database.write() as connection:
        labels.put(connection, row["unit"], row["branch"], orjson.dumps(content))


def page(pages: Pages, project: LocalProject, query: str = "", number: int = 0) -> Any:
    return viewer.task_page(pages, for_task(project, query, number=number))


@pytest.mark.parametrize(
    ("asked", "frame"), [("", 0), ("?frame=7", 7), ("?frame=50", 49), ("?frame=-1", 0), ("?frame=x", 0)]
)
def test_the_frame_of_an_address(pages: Pages, project: LocalProject, asked: str, frame: int) -> None:
    """It is the first without a number, and the last behind the end."""
    shown = page(pages, project, asked, film(project))
    assert attributes(shown, "data-frame") == [str(frame)]
    assert any(f"/frame/{frame}?" in address for address in attributes(shown, "href"))


@pytest.mark.parametrize(
    ("asked", "version"), [("", None), ("?version=1", 1), ("?version=2", 2), ("?version=9", None), ("?version=x", None)]
)
def test_the_version_of_an_address(pages: Pages, project: LocalProject, asked: str, version: int | None) -> None:
    """It has the labels of that save, and no button for agents; a version that is not kept is the latest one."""
    for confidence in (0.25, 0.5, 0.75):
        saved(project, confidence=confidence)
    editor_agents.add(pages.service, "Box it", "http://127.0.0.1:9/")
    shown = text(page(pages, project, asked))
    assert f"{ {1: 0.25, 2: 0.5, None: 0.75}[version]:.2f}" in shown
    assert ("Back to the latest" in shown) == (version is not None)
    assert ("Box it" in shown) == (version is None)


def test_the_next_task(pages: Pages, project: LocalProject) -> None:
    """It is that of the same list, whose filters stay in the address; the first has none before it."""
    query = f"?stage={project.stage('Agent').uuid}&order=newest"
    links = [address for address in attributes(page(pages, project, query, number=2), "href") if "/tasks/" in address]
    assert any(f"{project.tasks()[1].uuid}?" in address and "order=newest" in address for address in links)
    assert not any(f"{project.tasks()[0].uuid}?" in address for address in links)


@pytest.mark.parametrize("handle", [viewer.task_page, viewer.frame_labels, viewer.compare])
def test_an_unknown_task(pages: Pages, project: LocalProject, handle: Any) -> None:
    """It is refused, as one of another project is."""
    with refused(404):
        handle(pages, request(project=project.project_hash, task=NOBODY))
    with refused(404):
        handle(pages, request(project=NOBODY, task=project.tasks()[0].uuid))


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [("", 0, FRAMES_AT_ONCE - 1), ("?from=7", 7, 46), ("?from=45", 45, 49), ("?from=x", 0, 39), ("?from=50", 0, -1)],
)
def test_the_labels_of_some_frames(pages: Pages, project: LocalProject, asked: str, first: int, last: int) -> None:
    """They begin where they are asked for, are so many at most, and end with the video."""
    number = film(project, f0=BOX, f45=BOX)
    answer = viewer.frame_labels(pages, for_task(project, asked, number=number, rest="/frames"))
    found = orjson.loads(answer.body)
    assert list(found) == [str(frame) for frame in range(first, last + 1)]
    assert [frame for frame, parts in found.items() if "data-object" in parts["drawn"]] == [
        frame for frame in ("0", "45") if frame in found
    ]
    assert [frame for frame, parts in found.items() if "Person" in parts["listed"]] == [
        frame for frame in ("0", "45") if frame in found
    ]
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("ids", "frame"), [({}, 0), ({"frame": "7"}, 7), ({"frame": "x"}, 0), ({"frame": "9" * 12}, 0)]
)
def test_an_address_of_the_label_editor(pages: Pages, project: LocalProject, ids: dict[str, str], frame: int) -> None:
    """It leads to the first task of the data unit, in either case of letters, at its frame."""
    data = project.tasks()[0].data_hash
    project.add_task(data, branch="other")
    answer = viewer.as_in_the_editor(pages, request(project=project.project_hash, data=data.upper(), **ids))
    expected = f"/projects/{project.project_hash}/tasks/{project.tasks()[0].uuid}?frame={frame}"
    assert (answer.status_code, answer.headers["location"]) == (303, expected)
    with refused(404):
        viewer.as_in_the_editor(pages, request(project=project.project_hash, data=NOBODY))


def test_the_timeline() -> None:
    """An object's ranges are in thousandths of the video, the last frame's end with it; a hundred objects are shown."""
    objects = [BOX | {"objectHash": f"o{number}"} for number in range(120)]
    frames = {str(frame): {"objects": objects} for frame in (0, 1, 3)}
    row = Row({"data_units": {"d": {"labels": frames}}}, Classes({}), "video", [(1, 1)])
    found = viewer.tracks(row, 4)
    assert len(found) == 100
    assert (found[0]["bars"], found[0]["ranges"]) == ([(0, 500), (750, 250)], [(0, 1), (3, 3)])


@pytest.mark.parametrize(
    ("ranges", "pieces"),
    [
        ({}, [("Straße 1", "")]),
        ({"a": [[0, 7]]}, [("Straße 1", "a")]),
        ({"a": [[2, 3]]}, [("St", ""), ("ra", "a"), ("ße 1", "")]),
        ({"a": [[0, 5]], "b": [[4, 7]]}, [("Stra", "a"), ("ße", "ab"), (" 1", "b")]),
        ({"a": [[0, 0], [7, 7]]}, [("S", "a"), ("traße ", ""), ("1", "a")]),
        ({"a": [[6, 99]]}, [("Straße", ""), (" 1", "a")]),
        ({"a": [[50, 99]]}, [("Straße 1", "")]),
    ],
)
def test_a_text_in_pieces(
    pages: Pages, project: LocalProject, ranges: dict[str, Any], pieces: list[tuple[str, str]]
) -> None:
    """A piece has the objects that are on all of it; ranges are of characters, and end with the text."""
    project.add_file("text", "Straße 1".encode(), item_type="plainText", mime_type="text/plain")
    row = Row(
        {"object_answers": {hash: {"featureHash": "f", "range": found} for hash, found in ranges.items()}},
        Classes({}), "plainText", [(1, 1)],
    )  # fmt: skip
    found = viewer._text(pages, row_of(project, -1), row)
    assert [(piece["text"], "".join(one.hash for one in piece["objects"])) for piece in found] == pieces


def test_a_text_with_many_labels(pages: Pages, project: LocalProject) -> None:
    """Each piece has all that cover it, in the row's order, and they are not searched through for each piece."""
    chosen, seen, length = random.Random(0), list[int](), 1000
    project.add_file("text", b"x" * length, item_type="plainText", mime_type="text/plain")
    begins = {str(k): chosen.choices(range(length + 50), k=chosen.choice([1, 1, 2, 3])) for k in range(200)}
    ranges = {hash: [(first, first + chosen.randrange(30)) for first in found] for hash, found in begins.items()}
    answers = {
        hash: {"featureHash": "f", "range": [[counted(first, seen), last] for first, last in found]}
        for hash, found in ranges.items()
    }
    row = Row({"object_answers": answers}, Classes({}), "plainText", [(1, 1)])
    found = viewer._text(pages, row_of(project, -1), row)
    assert len(seen) <= 2 * sum(map(len, ranges.values()))
    cuts = {min(end, length) for own in ranges.values() for first, last in own for end in (first, last + 1)}
    pieces = list(itertools.pairwise(sorted({0, length, *cuts})))
    assert [len(piece["text"]) for piece in found] == [end - start for start, end in pieces]
    assert [[one.hash for one in piece["objects"]] for piece in found] == [
        [hash for hash, own in ranges.items() if any(first <= start and end - 1 <= last for first, last in own)]
        for start, end in pieces
    ]


def test_a_label_that_ends_within_a_lines_end(pages: Pages, project: LocalProject) -> None:
    """The text has as many lines as without the label."""
    project.add_file("text", b"one\r\ntwo\r\n\rend\r", item_type="plainText", mime_type="text/plain")
    answers = {hash: {"featureHash": "f", "range": [found]} for hash, found in {"a": [0, 3], "b": [9, 9]}.items()}
    found = viewer._text(
        pages, row_of(project, -1), Row({"object_answers": answers}, Classes({}), "plainText", [(1, 1)])
    )
    assert [piece["text"] for piece in found] == ["one", "\ntwo", "\n", "\rend\r"]


def test_a_text_that_is_long_or_empty(pages: Pages, project: LocalProject) -> None:
    """So many bytes of it are shown, also where they end within a character; an empty one has no pieces."""
    row = Row(None, Classes({}), "plainText", [(1, 1)])
    project.add_file("long", b"x" + "ß".encode() * viewer.LONGEST_TEXT, item_type="plainText", mime_type="text/plain")
    (piece,) = viewer._text(pages, row_of(project, -1), row)
    assert piece["text"] == "x" + "ß" * (viewer.LONGEST_TEXT // 2 - 1) + "\ufffd"
    project.add_file("empty", b"", item_type="plainText", mime_type="text/plain")
    assert viewer._text(pages, row_of(project, -1), row) == []


@pytest.mark.parametrize(
    ("asked", "older", "newer"),
    [
        ("", 2, 3), ("?to=2", 1, 2), ("?to=1", None, 1), ("?from=1", 1, 3), ("?from=1&to=2", 1, 2),
        ("?from=9&to=9", 2, 3), ("?from=3&to=1", 3, 1), ("?from=x", 2, 3),
    ],
)  # fmt: skip
def test_the_versions_of_an_address(
    pages: Pages, project: LocalProject, asked: str, older: int | None, newer: int
) -> None:
    """The latest is compared with the one before it, unless others are named that are kept."""
    for confidence in (0.25, 0.5, 0.75):
        saved(project, confidence=confidence)
    shown = html(viewer.compare(pages, for_task(project, asked, rest="/compare")))
    chosen = [part.partition('value="')[2].partition('"')[0] for part in shown.split("<option ") if " selected" in part]
    assert chosen == [str(version) for version in (older, newer) if version is not None]
    said = {1: "0.25", 2: "0.50", 3: "0.75"}
    change = f"confidence {said[older]} → {said[newer]}" if older is not None else f"Person 1 {said[newer]}"
    assert change in text(shown)


def test_nothing_to_compare(pages: Pages, project: LocalProject) -> None:
    """A task that nobody has saved has no versions, and its page says so."""
    assert "There is no version to compare" in text(viewer.compare(pages, for_task(project)))


def test_the_frame_of_a_comparison(pages: Pages, project: LocalProject) -> None:
    """It is the first that differs, or the one that is asked for."""
    number = film(project)
    data = project.tasks()[number].data_hash
    (row,) = labels.create(project._database, project._record, [data], "main")
    for confidence in (0.25, 0.75):
        frames = {str(frame): {"objects": [BOX | {"confidence": 0.5 if frame < 7 else confidence}]} for frame in (2, 7)}
        content = boxed(data) | {"data_units": {data: {"labels": frames}}}
        labels.save(project._database, project._record, {row["label_hash"]: content})
    for asked, frame in (("", 7), ("?frame=2", 2), ("?frame=99", 49)):
        shown = viewer.compare(pages, for_task(project, asked, number=number, rest="/compare"))
        assert any(f"/frame/{frame}?" in address for address in attributes(shown, "href"))


def test_classes_of_the_same_name() -> None:
    """Each is a group of its own in the list, with its own box to tick, by their names in either case."""
    names = {"Ab": "Person", "aB": "person", "x": "Person", "y": "Car"}
    classes = Classes({hash: LabelClass(hash, name, "#000000", "polygon") for hash, name in names.items()})
    found = [BOX | {"objectHash": f"o{hash}{k}", "featureHash": hash} for k in range(2) for hash in names]
    row = Row({"data_units": {"d": {"labels": {"objects": found}}}}, classes, "image", [(1, 1)])
    listed = viewer._frame(row, 0, 1.0, noun="picture", agents=[], here_task="")["listed"]
    toggles = attributes(listed, "data-toggle-class")
    assert toggles[0] == "y"
    assert sorted(toggles) == sorted(names)
    assert [o[1:-1] for o in attributes(listed, "data-object")] == [hash for hash in toggles for _ in range(2)]


def test_an_object_in_html() -> None:
    """Its place, which is no range of numbers, is left out of the list."""
    node = {"xpath": "/html/body/text()", "offset": 0}
    answer = {"featureHash": "f", "spaces": {"m": {"range": [[node, node]], "type": "html"}}}
    row = Row({"object_answers": {"o": answer}}, Classes({}), "group", [(1, 1)], [("m", 0)])
    assert "f 1" in text(viewer._frame(row, 0, 1.0, noun="picture", agents=[], here_task="")["listed"])


@pytest.mark.parametrize(("frames", "more"), [(60, False), (65, True)])
def test_many_frames_that_differ(pages: Pages, project: LocalProject, frames: int, more: bool) -> None:
    """So many frames have a link in a comparison, and the others are counted."""
    number = film(project, 70)
    data = project.tasks()[number].data_hash
    (row,) = labels.create(project._database, project._record, [data], "main")
    content = boxed(data) | {"data_units": {data: {"labels": {str(k): {"objects": [BOX]} for k in range(frames)}}}}
    labels.save(project._database, project._record, {row["label_hash"]: content})
    shown = text(viewer.compare(pages, for_task(project, number=number, rest="/compare")))
    assert "Frames that differ: 0 1 2 3 " in shown
    assert ("59 and 5 more" in shown) == more
    assert " 60 " not in shown


@pytest.mark.parametrize(("width", "unit"), [(900, 1.0), (1800, 2.0), (1, 0.001)])
def test_pixels_for_one_of_the_screen(pages: Pages, project: LocalProject, width: int, unit: float) -> None:
    """Lines are as thick on the screen for pictures of any size."""
    project.add_image("wide", b"", width=width, height=1)
    assert attributes(page(pages, project, number=-1), "data-unit") == [str(unit)]
