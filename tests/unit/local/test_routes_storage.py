"""The REST operations of storage: folders, items, uploads."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.local.asking import NOBODY, refused, rest

from encord_agents.local import LocalPlatform, LocalProject, uploads
from encord_agents.local.images import png
from encord_agents.local.routes_storage import MOST_UPLOADS, patch


def new(platform: LocalPlatform, name: str, **more: Any) -> str:
    return str(rest(platform, "POST storage/folders", {"name": name, **more})["uuid"])


def names(answer: Any) -> list[str]:
    return [one["name"] for one in answer["results"]]


def items(platform: LocalPlatform, **query: list[str]) -> Any:
    return rest(platform, "GET storage/search/items", query=query)


def folder_of(platform: LocalPlatform) -> str:
    """The folder of the only project's files."""
    return str(items(platform)["results"][0]["parent"])


def test_folders_in_folders(platform: LocalPlatform) -> None:
    """They are listed from the top, below one, or all the way down, and each knows the way to the root."""
    top = new(platform, "Top", clientMetadata='{"a": 1}', description="d")
    middle = new(platform, "Middle", parent=top)
    new(platform, "Bottom", parent=middle)
    assert names(rest(platform, "GET storage/folders")) == ["Top"]
    below = "GET storage/folders/{folder}/folders"
    assert names(rest(platform, below, folder=top)) == ["Middle"]
    assert names(rest(platform, below, query={"isRecursive": ["true"]}, folder=top)) == ["Bottom", "Middle"]
    (found,) = rest(platform, "GET storage/search/folders", query={"search": ["bot"]})["results"]
    assert [one["name"] for one in found["pathToRoot"]] == ["Middle", "Top"]
    for wrong, status in (
        ({}, 400),
        ({"name": "x", "parent": NOBODY}, 403),
        ({"name": "x", "clientMetadata": "[]"}, 400),
        ({"name": "x", "clientMetadata": "{"}, 400),
        ({"name": "x", "cloudSyncedFolderParams": {}}, 501),
    ):
        with refused(status):
            rest(platform, "POST storage/folders", wrong)


def test_a_folder_is_changed_moved_and_deleted(platform: LocalPlatform) -> None:
    """All that a request names, or none; never into itself, and not while something is in it."""
    top, other = new(platform, "Top"), new(platform, "Other")
    inner = new(platform, "Inner", parent=top)
    changed = rest(platform, "PATCH storage/folders/{folder}", {"name": "New"}, folder=top)
    assert (changed["name"], changed["description"]) == ("New", "")
    with refused(403):
        rest(platform, "PATCH storage/folders/patch-bulk", {"folderPatches": {top: {"name": "x"}, NOBODY: {}}})
    assert rest(platform, "GET storage/folders/{folder}", folder=top)["name"] == "New"
    several = {"folderPatches": {top: {"name": "T"}, other: {"clientMetadata": {"b": 2}}}}
    assert names(rest(platform, "PATCH storage/folders/patch-bulk", several)) == ["T", "Other"]
    with refused(400):
        rest(platform, "POST storage/folders/move", {"folderUuids": [other, top], "newParentUuid": inner})
    assert rest(platform, "GET storage/folders/{folder}", folder=other)["parent"] is None
    with refused(400):
        rest(platform, "DELETE storage/folders/{folder}", folder=top)
    rest(platform, "POST storage/folders/move", {"folderUuids": [inner], "newParentUuid": None})
    rest(platform, "DELETE storage/folders/{folder}", folder=top)
    assert names(rest(platform, "GET storage/folders")) == ["Inner", "Other"]
    with refused(403):
        rest(platform, "GET storage/folders/{folder}", folder=top)


def test_pages_of_items(platform: LocalPlatform, project: LocalProject) -> None:
    """Each names the next one; order and direction are the caller's."""
    first = items(platform, pageSize=["2"], desc=["true"])
    assert names(first) == ["c.png", "b.png"]
    last = items(platform, pageSize=["2"], desc=["true"], pageToken=[first["nextPageToken"]])
    assert (names(last), last["nextPageToken"]) == (["a.png"], None)
    assert names(items(platform, order=["createdAt"])) == ["a.png", "b.png", "c.png"]
    for query in ({"pageToken": ["x"]}, {"pageSize": ["-1"]}, {"order": ["size"]}, {"desc": ["yes"]},
                  {"itemTypes": ["poem"]}):  # fmt: skip
        with refused(400):
            items(platform, **query)


@pytest.mark.parametrize("desc", ["true", "false"])
@pytest.mark.parametrize("order", ["name", "createdAt"])
def test_nothing_is_skipped_by_who_lists_and_moves(
    platform: LocalPlatform, project: LocalProject, order: str, desc: str
) -> None:
    """A loop that moves or deletes the items it lists meets each of them once, also those of the same name and time."""
    project.add_placeholders(4, title="b.png")
    home, other = folder_of(platform), new(platform, "Other")
    seen, token = [], [""]
    while token:
        page = items(platform, pageSize=["2"], order=[order], desc=[desc], pageToken=token)
        seen += names(page)
        for number, item in enumerate(page["results"]):
            ids = {"itemUuids": [item["uuid"]], "newParentUuid": other, "childUuids": [item["uuid"]]}
            rest(platform, f"POST storage/folders/{{folder}}/items/{('move', 'delete')[number]}", ids, folder=home)
        token = [page["nextPageToken"]] if page["nextPageToken"] else []
    assert sorted(seen) == ["a.png", *["b.png"] * 5, "c.png"]


def test_items_by_filter(platform: LocalPlatform, project: LocalProject) -> None:
    """Each filter leaves those that fit; addresses and metadata are in the answer if they are wanted."""
    project.add_file("d.txt", b"words", item_type="plainText", mime_type="text/plain")
    assert names(items(platform, itemTypes=["plainText"])) == ["d.txt"]
    assert names(items(platform, search=["B.P"])) == ["b.png"]
    assert names(items(platform, isInDataset=["false"])) == []
    here = folder_of(platform)
    assert len(names(rest(platform, "GET storage/folders/{folder}/items", folder=here))) == 4
    (one,) = items(platform, search=["a.png"], signUrls=["true"], includeClientMetadata=["false"])["results"]
    assert (bool(one["signedUrl"]), one["clientMetadata"]) == (True, "{}")
    (one,) = items(platform, search=["a.png"])["results"]
    assert one["signedUrl"] is None
    summary = rest(platform, "GET storage/folders/{folder}/summary", folder=here)
    assert (summary["files"], summary["images"], summary["plainTexts"], summary["folders"]) == (4, 3, 1, 0)


def test_items_by_id(platform: LocalPlatform, project: LocalProject) -> None:
    """One or several; if one cannot be read, none of them can."""
    uuids = [one["uuid"] for one in items(platform)["results"]]
    bulk = {"itemUuids": uuids[::-1], "signUrls": True}
    found = rest(platform, "POST storage/items/get-bulk", bulk)
    assert (names(found), all(one["signedUrl"] for one in found["results"])) == (["c.png", "b.png", "a.png"], True)
    assert rest(platform, "GET storage/items/{item}", item=uuids[0])["signedUrl"] is None
    project.forbid_item(project.tasks()[0].data_hash)
    for request, body, ids in (
        ("POST storage/items/get-bulk", bulk, {}),
        ("GET storage/items/{item}", None, {"item": uuids[0]}),
    ):
        with refused(403):
            rest(platform, request, body, **ids)


def test_an_item_is_changed(platform: LocalPlatform, project: LocalProject) -> None:
    """By its own folder, or several at once: all of them, or none."""
    here, one = folder_of(platform), items(platform)["results"][0]["uuid"]
    change = "PATCH storage/folders/{folder}/items/{item}"
    changed = rest(platform, change, {"name": "z", "clientMetadata": {"a": 1}}, folder=here, item=one)
    assert (changed["name"], changed["clientMetadata"]) == ("z", '{"a":1}')
    with refused(403):
        rest(platform, change, {"name": "y"}, folder=new(platform, "Other"), item=one)
    with refused(403):
        rest(platform, "PATCH storage/items/patch-bulk", {"itemPatches": {one: {"name": "y"}, NOBODY: {}}})
    assert rest(platform, "GET storage/items/{item}", item=one)["name"] == "z"
    answered = rest(platform, "PATCH storage/items/patch-bulk", {"itemPatches": {one: {"description": "d"}}})
    assert names(answered) == ["z"]


def test_a_patch() -> None:
    """It has what is to be changed, in either case; what cannot be changed here is refused."""
    assert patch({"name": "n", "client_metadata": {"a": [1]}}) == {"name": "n", "metadata": '{"a":[1]}'}
    assert patch({}) == {}
    for wrong, status in (
        ({"sceneLayout": {}}, 501),
        ({"name": 3}, 400),
        ({"name": ""}, 400),
        ({"clientMetadata": []}, 200),
        (None, 400),
    ):
        if status == 200:
            assert patch(wrong) == {"metadata": "{}"}
            continue
        with refused(status):
            patch(wrong)


def test_items_are_moved_and_deleted(platform: LocalPlatform, project: LocalProject) -> None:
    """Out of the folder that they are in; what is deleted leaves datasets and projects, too."""
    here, there = folder_of(platform), new(platform, "There")
    one, two, _ = [found["uuid"] for found in items(platform)["results"]]
    move = "POST storage/folders/{folder}/items/move"
    rest(platform, move, {"itemUuids": [one], "newParentUuid": there}, folder=here)
    with refused(403):
        rest(platform, move, {"itemUuids": [two, one], "newParentUuid": there}, folder=here)
    assert names(rest(platform, "GET storage/folders/{folder}/items", folder=there)) == ["a.png"]
    delete = "POST storage/folders/{folder}/items/delete"
    assert rest(platform, delete, {"childUuids": [two]}, folder=here)["removedItemsCount"] == 1
    assert [task.data_title for task in project.tasks()] == ["a.png", "c.png"]
    with refused(403):
        rest(platform, delete, {"childUuids": [two]}, folder=here)


def test_what_a_group_consists_of(platform: LocalPlatform, project: LocalProject) -> None:
    """Its items are its children, and know of it; a data group has its layout."""
    group = project.add_image_group("group", [png(4, 3), png(5, 3)])
    here = folder_of(platform)
    found = {one["name"]: one["uuid"] for one in items(platform)["results"]}
    children = "GET storage/folders/{folder}/items/{item}/child-items"
    signed = rest(platform, children, query={"signUrls": ["true"]}, folder=here, item=found["group"])
    assert (names(signed), bool(signed["results"][0]["signedUrl"])) == (["group-0", "group-1"], True)
    summary = "GET storage/folders/{folder}/items/{item}/summary"
    member = rest(platform, summary, folder=here, item=found["group-0"])
    assert [one["name"] for one in member["accessibleGroupItems"]] == ["group"]
    whole = rest(platform, summary, folder=here, item=found["group"])
    assert [one["dataHashes"] for one in whole["accessibleDatasets"]] == [[group]]
    create = "POST storage/folders/{folder}/create-group-items"
    body = [{"name": "grid", "layoutType": "default-grid", "layoutContents": [found["a.png"], found["b.png"]]}]
    (made,) = rest(platform, create, body, folder=here)
    layout = rest(platform, summary, folder=here, item=made)["groupLayout"]["layoutContents"]
    assert layout == {"0": {"uuid": found["a.png"]}, "1": {"uuid": found["b.png"]}}
    left, right = ({"type": "data_unit", "key": key} for key in ("left", "right"))
    custom = {"layoutType": "custom", "layoutContents": {"left": found["a.png"], "right": found["b.png"]}}
    grid = {"direction": "row", "first": left, "second": right, "splitPercentage": 50}
    (made,) = rest(platform, create, [{**custom, "layout": grid, "timeline": ["left"]}], folder=here)
    assert rest(platform, summary, folder=here, item=made)["groupLayout"]["layout"] == grid
    unknown = {"type": "data_unit", "key": "middle"}
    carousel = {"type": "data_unit_list", "keys": ["left", "middle"]}
    for wrong in (
        None,
        [],
        [{"layoutType": "circle"}],
        [{"layoutType": "custom", "layoutContents": {}}],
        [{**custom, "layout": unknown}],
        [{**custom, "layout": {**grid, "second": {**grid, "first": unknown}}}],
        [{**custom, "layout": {**grid, "second": carousel}}],
        [{**custom, "layout": {"type": "data_unit", "key": []}}],
        [{**custom, "layout": grid, "timeline": ["middle"]}],
        [{**custom, "layout": grid, "timeline": "left"}],
    ):
        with refused(400):
            rest(platform, create, wrong, folder=here)


@pytest.mark.parametrize("count", [0, -1, MOST_UPLOADS + 1, True, "3", None])
def test_so_many_addresses_for_uploads(platform: LocalPlatform, count: Any) -> None:
    """Their number is bounded, for each is kept."""
    here = new(platform, "Here")
    with refused(400):
        rest(
            platform, "POST storage/folders/{folder}/upload-signed-urls", {"itemType": "image", "count": count},
            folder=here,
        )  # fmt: skip


@pytest.mark.parametrize(("kind", "status"), [("image", None), ("scene", 501), ("poem", 400), (None, 400)])
def test_the_type_of_an_upload(platform: LocalPlatform, kind: Any, status: int | None) -> None:
    """It is one that files are of; others that the real platform has are told apart from nonsense."""
    request, query = "GET presigned-urls", {"count": ["2"], "uploadItemType": [kind] if kind else []}
    if status is None:
        assert len(rest(platform, request, query=query)["results"]) == 2
        with refused(400):
            rest(platform, request, query=query | {"count": ["many"]})
        return
    with refused(status):
        rest(platform, request, query=query)


def test_an_upload(platform: LocalPlatform) -> None:
    """The job is done when it is answered, and says what was made and what failed."""
    here, service, content = new(platform, "Here"), platform._service, png(4, 3)
    places = rest(
        platform, "POST storage/folders/{folder}/upload-signed-urls", {"itemType": "image", "count": 2}, folder=here
    )["results"]
    uploads.received(service, places[0]["itemUuid"], service.assets.put(content), len(content))
    listed = [{"objectUrl": place["objectKey"], "title": "x.png"} for place in places]
    ask = "POST storage/folders/{folder}/data-upload-jobs"
    job = rest(platform, ask, {"dataItems": {"images": listed}, "ignoreErrors": True}, folder=here)
    state = rest(platform, f"GET {ask.removeprefix('POST ')}/{{job}}", folder=here, job=job)
    assert (state["status"], state["unitsDoneCount"], state["unitsErrorCount"]) == ("DONE", 1, 1)
    assert names(state | {"results": state["itemsWithNames"]}) == ["x.png"]
    assert rest(platform, f"{ask}/{{job}}/cancel", folder=here, job=job) == {"unitsCancelledCount": 0}
    with refused(400):
        rest(platform, f"{ask}/{{job}}/cancel", folder=here, job=NOBODY)


def test_the_one_integration(platform: LocalPlatform) -> None:
    """It is listed, or not, by its id and its title."""
    (found,) = rest(platform, "GET cloud-integrations")["result"]
    assert found["integrationUuid"] == uploads.INTEGRATION
    for query, n in (
        ({"filterIntegrationUuids": [NOBODY]}, 0),
        ({"filterIntegrationUuids": [uploads.INTEGRATION]}, 1),
        ({"filterIntegrationTitles": ["mine"]}, 0),
    ):
        assert len(rest(platform, "GET cloud-integrations", query=query)["result"]) == n
