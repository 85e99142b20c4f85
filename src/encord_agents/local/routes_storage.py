"""The REST operations on storage: folders, items and uploads."""

from __future__ import annotations

import sqlite3
from typing import Any

import orjson

from encord_agents.local import datasets, filters, folders, items, sequences, uploads, wire
from encord_agents.local.folders import Search
from encord_agents.local.service import Answer, Call, Given, Operation, Service, mapping, parsed, uuid
from encord_agents.local.trouble import NotKnown, malformed

MOST_PER_PAGE = 1000
MOST_UPLOADS = 10_000


def _folder(service: Service, row: sqlite3.Row) -> dict[str, Any]:
    above = folders.path(service.database, row)
    return wire.folder(row, above, folders.datasets_of(service.database, [one["uuid"] for one in (row, *above)]))


def _search(call: Call, *, items_too: bool, **more: Any) -> Search:
    query = call.query
    token, size = filters.one(query, "page_token"), filters.one(query, "page_size") or "100"
    if not (size.isascii() and size.isdigit() and len(size) < 16):
        raise malformed("pageSize is a number.")
    order = filters.one(query, "order") or "name"
    if order not in ("name", "createdAt"):
        raise malformed("order is name or createdAt.")
    types = filters.many(query, "item_types") or []
    if unknown := set(types) - set(items.TYPES) - {"timeseries", "scene"}:
        raise malformed(f"There are no items of type {min(unknown)[:100]!r}.")
    return Search(
        search=filters.one(query, "search"),
        recursive=filters.flag(query, "is_recursive") or more.pop("recursive", False),
        in_dataset=filters.flag(query, "is_in_dataset" if items_too else "dataset_synced"),
        types=types,
        order=order,
        desc=filters.flag(query, "desc") or False,
        size=min(max(int(size), 1), MOST_PER_PAGE),
        after=folders.after(token, order) if token else None,
        **more,
    )


def _paged(rows: list[sqlite3.Row], wanted: Search, write: Any) -> Answer:
    more = len(rows) > wanted.size
    rows = rows[: wanted.size]
    token = folders.token(rows[-1]) if more else None
    return Answer({"results": [write(row) for row in rows], "nextPageToken": token}, len(rows))


def list_folders(service: Service, call: Call) -> Answer:
    wanted = _search(call, items_too=False, top=True)
    return _paged(folders.find(service.database, wanted), wanted, lambda row: _folder(service, row))


def find_folders(service: Service, call: Call) -> Answer:
    wanted = _search(call, items_too=False)
    return _paged(folders.find(service.database, wanted), wanted, lambda row: _folder(service, row))


def subfolders(service: Service, call: Call) -> Answer:
    folders.get(service.database, call.path["folder"])
    wanted = _search(call, items_too=False, folder=call.path["folder"])
    return _paged(folders.find(service.database, wanted), wanted, lambda row: _folder(service, row))


def folder(service: Service, call: Call) -> Answer:
    return Answer(_folder(service, folders.get(service.database, call.path["folder"])), 1)


def new_folder(service: Service, call: Call) -> Answer:
    given = Given(call.body, "A folder")
    if given.get("cloud_synced_folder_params") is not None:
        raise NotKnown("folders that are in step with a cloud.", "Make a plain folder and upload the files.")
    name, metadata = given.needed("name"), given.text("client_metadata")
    if metadata is not None:
        _json_object(metadata)
    with service.database.write() as connection:
        parent = None
        if given.get("parent") is not None:
            parent = folders.get(service.database, given.id("parent"))["uuid"]
        made = datasets.new_folder(
            connection, name, description=given.text("description") or "", parent=parent, metadata=metadata
        )
    return Answer(_folder(service, folders.get(service.database, made)), 1)


def _json_object(text: str) -> None:
    mapping(parsed(text, "clientMetadata"), "clientMetadata")


def delete_folder(service: Service, call: Call) -> Answer:
    folders.delete(service.database, call.path["folder"])
    return Answer(None, 1)


def update_folder(service: Service, call: Call) -> Answer:
    (row,) = folders.update(service.database, {call.path["folder"]: patch(call.body)})
    return Answer(_folder(service, row), 1)


def update_folders(service: Service, call: Call) -> Answer:
    given = mapping(call.given.get("folder_patches"), "folderPatches")
    rows = folders.update(service.database, {uuid(key, "A folder"): patch(value) for key, value in given.items()})
    return Answer.listing([_folder(service, row) for row in rows])


def move_folders(service: Service, call: Call) -> Answer:
    given = call.given
    wanted, parent = given.ids("folder_uuids"), given.get("new_parent_uuid")
    folders.move(service.database, wanted, None if parent is None else given.id("new_parent_uuid"))
    return Answer(None, len(wanted))


def folder_summary(service: Service, call: Call) -> Answer:
    folders.get(service.database, call.path["folder"])
    return Answer(folders.summary(service.database, call.path["folder"]), 1)


def folder_items(service: Service, call: Call) -> Answer:
    folders.get(service.database, call.path["folder"])
    return _items(service, call, folder=call.path["folder"])


def find_items(service: Service, call: Call) -> Answer:
    return _items(service, call)


def _items(service: Service, call: Call, **more: Any) -> Answer:
    wanted = _search(call, items_too=True, **more)
    link = service.link if filters.flag(call.query, "sign_urls") else None
    unasked = {"clientMetadata": "{}"} if filters.flag(call.query, "include_client_metadata") is False else {}
    return _paged(folders.find_items(service.database, wanted), wanted, lambda row: wire.item(row, link) | unasked)


def item(service: Service, call: Call) -> Answer:
    link = service.link if filters.flag(call.query, "sign_url") else None
    row = items.get(service.database, [call.path["item"]])[0]
    return Answer(wire.item(row, link), 1)


def items_bulk(service: Service, call: Call) -> Answer:
    rows = service.arranged(items.get(service.database, call.given.ids("item_uuids")))
    link = service.link if call.given.flag("sign_urls") else None
    return Answer.listing([wire.item(row, link) for row in rows])


def children(service: Service, call: Call) -> Answer:
    group = items.in_folder(service.database, call.path["folder"], call.path["item"])
    rows = items.children(service.database, group["uuid"])
    link = service.link if filters.flag(call.query, "sign_urls") else None
    return Answer.listing([wire.item(row, link) for row in rows])


def item_summary(service: Service, call: Call) -> Answer:
    row = items.in_folder(service.database, call.path["folder"], call.path["item"])
    with service.database.read() as connection:
        groups = connection.execute(
            "SELECT i.*, f.name AS folder_name FROM children c JOIN items i ON i.uuid = c.parent"
            " JOIN folders f ON f.uuid = i.folder WHERE c.item = ?",
            (row["uuid"],),
        ).fetchall()
        uses = connection.execute(
            "SELECT s.*, d.data_hash, d.created_at AS linked_at FROM data d JOIN datasets s ON s.hash = d.dataset"
            " WHERE d.item = ? ORDER BY d.id",
            (row["id"],),
        ).fetchall()
    members = items.children(service.database, row["uuid"])
    return Answer(wire.item_summary(row, groups, uses, members), 1)


def item_update(service: Service, call: Call) -> Answer:
    given = {call.path["item"]: patch(call.body)}
    return Answer(wire.item(items.update(service.database, given, folder=call.path["folder"])[0], None), 1)


def items_update(service: Service, call: Call) -> Answer:
    given = mapping(call.given.get("item_patches"), "itemPatches")
    rows = items.update(service.database, {uuid(key, "An item"): patch(value) for key, value in given.items()})
    return Answer.listing([wire.item(row, None) for row in rows])


def patch(value: Any) -> dict[str, str]:
    """Return the changes that a patch makes to a folder or an item."""
    given = Given(value)
    for key in ("timeseries_settings", "scene_view_settings", "scene_layout"):
        if given.get(key) is not None:
            raise NotKnown(f"changing {key} of an item.", "Change name, description or clientMetadata.")
    changes = {} if given.get("name") is None else {"name": given.needed("name")}
    if (description := given.text("description")) is not None:
        changes["description"] = description
    if given.get("client_metadata") is not None:
        changes["metadata"] = orjson.dumps(given.part("client_metadata").fields).decode()
    return changes


def move_items(service: Service, call: Call) -> Answer:
    wanted = call.given.ids("item_uuids")
    folders.move_items(service.database, call.path["folder"], wanted, call.given.id("new_parent_uuid"))
    return Answer(None, len(wanted))


def delete_items(service: Service, call: Call) -> Answer:
    wanted = call.given.ids("child_uuids")
    frames = call.given.flag("remove_unused_frames") is not False
    done = folders.delete_items(service.database, call.path["folder"], wanted, unused_frames=frames)
    return Answer({"removedItemsCount": done, "removedFoldersCount": 0}, len(wanted))


def upload_urls(service: Service, call: Call) -> Answer:
    folders.get(service.database, call.path["folder"])
    return _upload_urls(service, call.path["folder"], call.given.get("item_type"), call.given.get("count"))


def presigned_urls(service: Service, call: Call) -> Answer:
    count = filters.one(call.query, "count") or "1"
    kind = filters.one(call.query, "upload_item_type")
    number = int(count) if count.isascii() and count.isdigit() and len(count) < 9 else 0
    return _upload_urls(service, None, kind, number)


def _upload_urls(service: Service, folder: str | None, kind: Any, count: Any) -> Answer:
    if kind not in uploads.TYPES:
        if kind in ("timeseries", "scene", "group", "imageGroup", "imageSequence", "dicomSeries"):
            raise NotKnown(f"uploads of the type {kind}.", "Upload images, videos, audio, text, PDF, DICOM or NIfTI.")
        raise malformed("itemType is not a type of item.")
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MOST_UPLOADS:
        raise malformed(f"count is a number from 1 to {MOST_UPLOADS}.")
    return Answer({"results": uploads.signed(service, folder, count), "nextPageToken": None}, count)


def upload_job(service: Service, call: Call) -> Answer:
    given = call.given
    folder = folders.get(service.database, call.path["folder"])["uuid"]
    ignore = given.flag("ignore_errors") or False
    wanted = uploads.wanted(given, "data_items", "external_files")
    job = uploads.run(service, folder, wanted, call.user, ignore_errors=ignore)
    made = [{"item_uuid": item, "name": name} for _, item, name in job.made]
    name = uploads.keep(service, job, ignore_errors=ignore, answer={"items_with_names": made})
    return Answer(name, len(job.made))


def upload_state(service: Service, call: Call) -> Answer:
    state = uploads.state(service, call.path["job"])
    if state is None:
        raise malformed("There is no such upload job.")
    return Answer({filters.camel(key): value for key, value in state.items()}, 1)


def upload_cancel(service: Service, call: Call) -> Answer:
    upload_state(service, call)
    return Answer({"unitsCancelledCount": 0}, 1)  # a job is finished before its request is answered


def group_items(service: Service, call: Call) -> Answer:
    folder = folders.get(service.database, call.path["folder"])["uuid"]
    if not isinstance(call.body, list) or not call.body:
        raise malformed("The body must be a list of groups.")
    made = sequences.group_items(service, folder, call.body)
    return Answer(made, len(made))


def integrations(service: Service, call: Call) -> Answer:
    found = {"integrationUuid": uploads.INTEGRATION, "title": "Files on this machine"}
    wanted_uuids = filters.many(call.query, "filter_integration_uuids")
    titles = filters.many(call.query, "filter_integration_titles")
    there = (wanted_uuids is None or found["integrationUuid"] in wanted_uuids) and (
        titles is None or found["title"] in titles
    )
    return Answer({"result": [found] if there else []}, 1)


_PAGED = ("search", "is_recursive", "order", "desc", "page_token", "page_size")
_FOLDERS = (*_PAGED, "dataset_synced")
_ITEMS = (
    *_PAGED,
    "is_in_dataset",
    "item_types",
    "sign_urls",
    "include_client_metadata",
    "client_metadata_as_signed_url",
)
_OFF = ("include_org_access", "organisation_tag_names_allof")

ROUTES = {
    "POST storage/items/get-bulk": Operation("items", items_bulk),
    "GET storage/items/{item}": Operation("item", item, query=("sign_url",)),
    "GET storage/folders": Operation("folders", list_folders, query=_FOLDERS, off=_OFF),
    "POST storage/folders": Operation("folder_create", new_folder),
    "POST storage/folders/move": Operation("folder_move", move_folders),
    "PATCH storage/folders/patch-bulk": Operation("folder_update", update_folders),
    "GET storage/search/folders": Operation("folders", find_folders, query=_FOLDERS, off=_OFF),
    "GET storage/search/items": Operation("items_search", find_items, query=_ITEMS, off=_OFF),
    "GET storage/folders/{folder}": Operation("folder", folder),
    "PATCH storage/folders/{folder}": Operation("folder_update", update_folder),
    "DELETE storage/folders/{folder}": Operation("folder_delete", delete_folder),
    "GET storage/folders/{folder}/folders": Operation("folders", subfolders, query=_FOLDERS, off=_OFF),
    "GET storage/folders/{folder}/summary": Operation("folder_summary", folder_summary),
    "GET storage/folders/{folder}/items": Operation("items_search", folder_items, query=_ITEMS, off=_OFF),
    "POST storage/folders/{folder}/items/move": Operation("item_move", move_items),
    "POST storage/folders/{folder}/items/delete": Operation("item_delete", delete_items),
    "GET storage/folders/{folder}/items/{item}/child-items": Operation("children", children, query=("sign_urls",)),
    "GET storage/folders/{folder}/items/{item}/summary": Operation(
        "item_summary", item_summary, query=("include_group_layout",)
    ),
    "PATCH storage/folders/{folder}/items/{item}": Operation("item_update", item_update),
    "POST storage/folders/{folder}/upload-signed-urls": Operation("upload_urls", upload_urls),
    "POST storage/folders/{folder}/data-upload-jobs": Operation("upload_job", upload_job, slow=True),
    "GET storage/folders/{folder}/data-upload-jobs/{job}": Operation(
        "upload_state", upload_state, query=("timeout_seconds",)
    ),
    "POST storage/folders/{folder}/data-upload-jobs/{job}/cancel": Operation("upload_cancel", upload_cancel),
    "POST storage/folders/{folder}/create-group-items": Operation("group_create", group_items),
    "PATCH storage/items/patch-bulk": Operation("item_update", items_update),
    "GET presigned-urls": Operation("upload_urls", presigned_urls, query=("count", "upload_item_type")),
    "GET cloud-integrations": Operation(
        "integrations",
        integrations,
        query=("filter_integration_uuids", "filter_integration_titles"),
        off=("include_org_access",),
    ),
}
