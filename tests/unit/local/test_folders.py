"""Storage folders: searches, moves and removals, without HTTP."""

from __future__ import annotations

from base64 import urlsafe_b64encode

import pytest

from encord_agents.local import LocalPlatform, LocalProject, datasets, folders, items
from encord_agents.local.folders import Search
from encord_agents.local.items import NewUnit
from encord_agents.local.trouble import Refusal


@pytest.fixture
def tree(platform: LocalPlatform, project: LocalProject) -> dict[str, str]:
    """The project's folder, and `top` with `below` in it."""
    database = platform._service.database
    with database.write() as connection:
        top = datasets.new_folder(connection, "top")
        below = datasets.new_folder(connection, "below", parent=top)
        home = datasets.folder_of(connection, project._record.dataset or "")
    return {"top": top, "below": below, "home": home}


def names(platform: LocalPlatform, **wanted: object) -> list[str]:
    return [row["name"] for row in folders.find(platform._service.database, Search(**wanted))]  # type: ignore[arg-type]


def titles(platform: LocalPlatform, **wanted: object) -> list[str]:
    return [row["title"] for row in folders.find_items(platform._service.database, Search(**wanted))]  # type: ignore[arg-type]


def test_folders_by_filter(platform: LocalPlatform, tree: dict[str, str]) -> None:
    """At the top, in another, below it at any depth, by a part of the name, and those of datasets."""
    assert names(platform) == ["Project", "below", "top"]
    assert names(platform, desc=True) == ["top", "below", "Project"]
    assert names(platform, top=True) == ["Project", "top"]
    assert names(platform, folder=tree["top"]) == ["below"]
    assert names(platform, folder=tree["below"]) == []
    assert names(platform, folder=tree["top"], recursive=True) == ["below"]
    assert names(platform, search="EL") == ["below"]
    assert names(platform, in_dataset=True) == ["Project"]
    assert names(platform, in_dataset=False) == ["below", "top"]
    assert names(platform, size=1) == ["Project", "below"]  # one more than the page has
    *_, last = folders.find(platform._service.database, Search(size=1))
    assert names(platform, size=1, after=(last["place"], last["tie"])) == ["top"]


def test_items_by_filter(platform: LocalPlatform, project: LocalProject, tree: dict[str, str]) -> None:
    """The same; those of a forbidden item are never listed."""
    database = platform._service.database
    item = titles(platform) and folders.find_items(database, Search())[0]["uuid"]
    folders.move_items(database, tree["home"], [item], tree["below"])
    assert titles(platform, folder=tree["home"]) == ["b.png", "c.png"]
    assert titles(platform, folder=tree["top"]) == []
    assert titles(platform, folder=tree["top"], recursive=True) == ["a.png"]
    assert titles(platform, types=["video"]) == []
    assert titles(platform, types=["video", "image"], search="C.") == ["c.png"]
    assert titles(platform, in_dataset=False) == []
    assert titles(platform, order="createdAt", desc=True) == ["c.png", "b.png", "a.png"]
    project.forbid_item(project.tasks()[1].data_hash)
    assert titles(platform) == ["a.png", "c.png"]


def test_a_folder_stays_out_of_itself(platform: LocalPlatform, tree: dict[str, str]) -> None:
    """Moves go elsewhere, or to the top; the way up is known."""
    database = platform._service.database
    for wrong in ("top", "below"):
        with pytest.raises(Refusal):
            folders.move(database, [tree["top"]], tree[wrong])
    folders.move(database, [tree["below"]], None)
    folders.move(database, [tree["top"]], tree["below"])
    assert [row["name"] for row in folders.path(database, folders.get(database, tree["top"]))] == ["below"]
    assert folders.update(database, {tree["top"]: {"name": "new"}})[0]["name"] == "new"


def test_removals(platform: LocalPlatform, project: LocalProject, tree: dict[str, str]) -> None:
    """Only an empty folder goes; items go with their data units, but not out of a group that stays."""
    database = platform._service.database
    for name in ("top", "home"):
        with pytest.raises(Refusal, match="not empty"):
            folders.delete(database, tree[name])
    folders.delete(database, tree["below"])
    folders.delete(database, tree["top"])
    group = project.add_image_group("group", [_picture(), _picture()])
    item = folders.find_items(database, Search(search="group-0"))[0]["uuid"]
    with pytest.raises(Refusal) as caught:
        folders.delete_items(database, tree["home"], [item], unused_frames=True)
    assert caught.value.status == 409
    parent = next(row["uuid"] for row in folders.find_items(database, Search(types=["imageGroup"])))
    assert folders.delete_items(database, tree["home"], [parent], unused_frames=True) == 3
    assert group not in [task.data_hash for task in project.tasks()]
    summary = folders.summary(database, tree["home"])
    assert (summary["files"], summary["images"], summary["imageGroups"]) == (3, 3, 0)


def test_members_that_removed_groups_share(
    platform: LocalPlatform, project: LocalProject, tree: dict[str, str]
) -> None:
    """They go with the last group that has them, but stay while another group or a dataset has them."""
    database = platform._service.database
    rows = folders.find_items(database, Search())
    project.add_image_group("group", [_picture()])
    (member,) = folders.find_items(database, Search(search="group-0"))
    groups = []
    with database.write() as connection:
        for title in ("one", "two", "three"):
            unit = NewUnit(title, "imageGroup", None, None, 0)
            added = items.insert_group(connection, tree["home"], unit, [member["uuid"], rows[0]["uuid"]])
            groups += items.uuids_of(connection, [added])
    (first,) = (row["uuid"] for row in folders.find_items(database, Search(types=["imageGroup"], search="group")))
    assert folders.delete_items(database, tree["home"], [first, groups[0]], unused_frames=True) == 2
    assert folders.delete_items(database, tree["home"], groups[1:], unused_frames=True) == 3
    assert titles(platform) == ["a.png", "b.png", "c.png"]


@pytest.mark.parametrize("search", ["école", "ÉCOLE", "École"])
def test_a_search_in_any_language(platform: LocalPlatform, search: str) -> None:
    """Case does not matter, in letters with accents either."""
    with platform._service.database.write() as connection:
        datasets.new_folder(connection, "Une École")
    assert names(platform, search=search) == ["Une École"]


@pytest.mark.parametrize(
    "token", ["x", "é", "3", "[3]", "[1, 2]", '["a", -1]', '["a", 9223372036854775808]', '["a", null]']
)
def test_a_token_that_is_none(token: str) -> None:
    """It is refused, also if it is a place that no row has."""
    if token not in "xé":
        token = urlsafe_b64encode(token.encode()).decode()
    with pytest.raises(Refusal, match="not one of ours"):
        folders.after(token, "name")


def _picture() -> bytes:
    from encord_agents.local.images import png

    return png(4, 3)
