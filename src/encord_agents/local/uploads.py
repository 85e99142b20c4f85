"""Uploads: files are sent to signed URLs, then a job makes items of them. Private data is copied from where it is."""

from __future__ import annotations

import contextlib
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Annotated, Any
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import orjson
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, TypeAdapter
from pydantic.alias_generators import to_camel

from encord_agents.local import datasets, items, media, sequences
from encord_agents.local.database import SOME, listed
from encord_agents.local.items import NewUnit
from encord_agents.local.service import Given, Service, mapping, uuids
from encord_agents.local.trouble import LocalPlatformError, NotKnown, forbidden, malformed
from encord_agents.local.users import OWNER
from encord_agents.local.written import checked

PREFIX = "upload:"
"""The prefix of an uploaded object's key."""
INTEGRATION = "10ca1000-0000-4000-8000-000000000000"
"""The only cloud integration: files and URLs on this machine."""
SECONDS_PER_FETCH = 60
_SINGLE = {
    "images": "image", "videos": "video", "audio": "audio", "text": "plainText", "pdf": "pdf", "pdfs": "pdf",
    "nifti": "nifti",
}  # fmt: skip
_GROUPS = ("imageGroups", "image_groups", "dicomSeries", "dicom_series", "imageGroupsFromItems")
_OPTIONS = ("skipDuplicateUrls", "skip_duplicate_urls", "upsertMetadata", "upsert_metadata")
_NOT_HERE = ("timeSeries", "time_series", "scenes")
TYPES = frozenset(("image", "video", "audio", "plainText", "pdf", "nifti", "dicomFile"))
"""The types of items whose files can be uploaded."""


@dataclass
class Job:
    """The result of an upload job: the items that were made, and the failures."""

    made: list[tuple[int, str, str]] = field(default_factory=list)  # row, uuid, name
    errors: list[tuple[list[str], str]] = field(default_factory=list)  # URLs, reason


@dataclass(frozen=True)
class _Entry:
    """The result of an entry of a job: a file, or a group of files or of existing items, given by their uuids."""

    units: list[NewUnit]
    group: NewUnit | None = None
    there: list[str] = field(default_factory=list)


def signed(service: Service, folder: str | None, count: int) -> list[dict[str, Any]]:
    """Return signed URLs to upload ``count`` files to."""
    now = time.time()
    uuids = [str(uuid4()) for _ in range(count)]
    with service.database.write() as connection:
        connection.executemany(
            "INSERT INTO uploads (item, folder, created_at) VALUES (?, ?, ?)", [(item, folder, now) for item in uuids]
        )
    return [
        {
            "itemUuid": item,
            "objectKey": f"{PREFIX}{item}",
            "signedUrl": service.signer.upload_url(service.domain, item),
            "uploadHeaders": {},
        }
        for item in uuids
    ]


def received(service: Service, item: str, digest: str, size: int) -> bool:
    """Record that a file has arrived. Return True if it was expected."""
    with service.database.write() as connection:
        done = connection.execute("UPDATE uploads SET digest = ?, size = ? WHERE item = ?", (digest, size, item))
        return done.rowcount == 1


def run(service: Service, folder: str, given: Mapping[str, Any], user: str, *, ignore_errors: bool) -> Job:
    """Make items of the files that a job lists. Without ``ignore_errors``, a failure of one makes none.

    Raises:
        Refusal: 400, the list is malformed; 501, it has a kind of data that the platform does not support.
    """
    job = Job()
    read: list[_Entry] = []
    used: set[str] = set()
    for kind, entry in list(_entries(given)):
        addresses = _addresses(kind, entry)
        try:
            read.append(_entry(service, kind, entry, addresses, used, user))
        except (OSError, ValueError) as error:
            job.errors.append((addresses, str(error)))
    if job.errors and not ignore_errors:
        return job
    # Files are read and videos encoded before the transaction, which holds the database's lock: it may take minutes.
    skip, upsert = (bool(Given(given).get(name)) for name in ("skip_duplicate_urls", "upsert_metadata"))
    with service.database.write() as connection:
        for found in sorted(read, key=lambda entry: entry.group is not None):  # a group's images are items, too
            if skip and (same := _same(service, folder, found)):
                metadata = (found.group or found.units[0]).metadata
                if upsert and metadata != "{}":  # which is what the SDK sends if its caller states none
                    items.update(service.database, {item: {"metadata": metadata} for item in same})
                continue
            if found.group is None:
                (row,) = items.insert(connection, folder, found.units)
            else:
                items.get(service.database, found.there)  # may have been removed meanwhile
                uuids = found.there or items.uuids_of(connection, items.insert(connection, folder, found.units))
                row = items.insert_group(connection, folder, found.group, uuids)
            job.made.append((row, *connection.execute("SELECT uuid, title FROM items WHERE id = ?", (row,)).fetchone()))
        connection.execute("DELETE FROM uploads WHERE item IN (SELECT uuid FROM items)")
    return job


def _same(service: Service, folder: str, entry: _Entry) -> list[str]:
    """Return the items of a folder that have an entry's URL; for a group, the groups of the same URLs."""
    urls, group = [unit.url for unit in entry.units], entry.group
    files = "SELECT uuid FROM items WHERE folder = ? AND url = ?"
    groups = f"SELECT uuid FROM items, children WHERE parent = uuid AND folder = ? AND item_type = ? AND item IN {SOME}"
    with service.database.read() as connection:
        found = [row["uuid"] for row in connection.execute(files, (folder, urls[0]))]
        if group is None:
            return found
        found = [row["uuid"] for row in connection.execute(groups, (folder, group.item_type, listed(found)))]
    members = items.members(service.database, found).items()
    return [uuid for uuid, those in members if None not in urls and [one["url"] for one in those] == urls]


def _entry(
    service: Service, kind: str, entry: dict[str, Any], addresses: Sequence[str], used: set[str], user: str
) -> _Entry:
    """Read an entry of a job. ``used`` are the uploads of the entries before it, to which its own are added.

    Raises:
        ValueError: A file cannot be read, or is not of the kind.
        Refusal: 400, the entry is malformed; 403, an item is unknown.
    """
    title = Given(entry).text("title")
    metadata = orjson.dumps(Given(entry).get("client_metadata") or {}).decode()
    there: list[str] = []
    if kind == "imageGroupsFromItems":
        there = uuids(entry.get("imageItems", ()), "imageItems")
        units = [_image(row) for row in items.get(service.database, there)]
    else:
        titles = [title] if kind in _SINGLE else [Given(child).text("title") for child in _children(entry)]
        units = [
            _named(service, address, _child_kind(kind), name, used, user)
            for address, name in zip(addresses, titles or [None] * len(addresses), strict=True)
        ]
    if kind in _SINGLE:
        return _Entry([replace(_stated(units[0], entry), metadata=metadata)])
    if len(set(there)) != len(there) or not units:
        raise malformed("A group consists of different items, of at least one.")
    video = bool(Given(entry).get("create_video"))
    group_kind = "dicomSeries" if "dicom" in kind.lower() else "imageSequence" if video else "imageGroup"
    try:
        group = sequences.group(service.assets, group_kind, title or "Group", units)
    except ValueError as error:
        raise ValueError(f"{title or 'Group'}: {error}") from None
    return _Entry(units, replace(group, metadata=metadata), there)


def _image(row: Any) -> NewUnit:
    if row["item_type"] != "image":
        raise malformed(f"An image group consists of images, and {row['title']} is of the type {row['item_type']}.")
    return NewUnit(
        row["title"], row["item_type"], row["mime_type"], row["digest"], row["size"] or 0, row["width"], row["height"],
        row["frames"],
    )  # fmt: skip


def _named(service: Service, address: str, kind: str, title: str | None, used: set[str], user: str) -> NewUnit:
    """Read a file, and give it the title that its client knows it by; so is it named in an error.

    Raises:
        ValueError: It cannot be read, or is not of the kind.
    """
    try:
        if address.startswith(PREFIX) and address in used:
            raise ValueError("an uploaded file becomes one item: upload it again for another")
        used.add(address)
        unit = _file(service, address, kind, user)
    except (OSError, ValueError) as error:
        raise ValueError(f"{title}: {error}" if title else str(error)) from error
    return media.named(unit, title or unit.title)


def _entries(given: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for key, entries in given.items():
        if key in _OPTIONS or not entries:
            continue
        if key in _NOT_HERE:
            raise NotKnown(f"uploads of {key}.", "Leave them out, or upload them to the real platform.")
        if key not in _SINGLE and key not in _GROUPS:
            raise malformed(f"What is to be added has {key!r}, which is not a kind of data.")
        if not isinstance(entries, list):
            raise malformed(f"{key} must be a list.")
        for entry in entries:
            yield key, mapping(entry, f"An entry of {key}")


def _child_kind(kind: str) -> str:
    return _SINGLE.get(kind) or ("dicomFile" if "dicom" in kind.lower() else "image")


def _children(entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    children = entry.get("images") or Given(entry).get("dicom_files") or []
    return [mapping(child, "An image") for child in children]


def _addresses(kind: str, entry: Mapping[str, Any]) -> list[str]:
    """Return the URLs of an entry's objects: one, or several for groups; in JSON files ``objectUrl_0`` and so on."""
    if kind == "imageGroupsFromItems":
        return []
    if kind in _SINGLE:
        found = [Given(entry).get("object_url")]
    elif children := _children(entry):
        found = [child.get("url") for child in children]
    else:
        numbered = [(key.rpartition("_")[2], value) for key, value in entry.items() if key.startswith("objectUrl_")]
        found = [value for _, value in sorted(numbered, key=lambda pair: int(pair[0]) if pair[0].isdigit() else 0)]
    if not found or not all(isinstance(address, str) for address in found):
        raise malformed(f"An entry of {kind} has no objectUrl.")
    return [str(address) for address in found]


def _file(service: Service, address: str, kind: str, user: str) -> NewUnit:
    """Read an object.

    Raises:
        ValueError: It does not exist, may not be read, or is not of this type.
        OSError: It cannot be read.
    """
    if address.startswith(PREFIX):
        item = address.removeprefix(PREFIX)
        with service.database.read() as connection:
            row = connection.execute("SELECT * FROM uploads WHERE item = ?", (item,)).fetchone()
        if row is None or row["digest"] is None:
            raise ValueError("no file was uploaded for it")
        return replace(_read(service, row["digest"], kind, "file"), uuid=item)
    if user != OWNER:
        raise ValueError("only the platform's owner can add files of this machine")
    parts = urlsplit(address)
    title = Path(unquote(parts.path)).name or "file"
    if parts.scheme in ("", "file"):
        path = Path(unquote(parts.path))
        if not path.is_absolute() or not path.is_file():
            raise ValueError(f"there is no file {address}: name one by its whole path")
        unit = media.read_file(path, title, kind)
        return replace(unit, digest=service.assets.put_file(path), url=address)
    if parts.scheme not in ("http", "https") or parts.hostname not in ("127.0.0.1", "localhost", "::1"):
        raise ValueError(f"{address[:200]} is not on this machine, and the local platform asks no other for files")
    writer = service.assets.writer()
    try:
        with _opener().open(address, timeout=SECONDS_PER_FETCH) as answer:
            while part := answer.read(2**20):
                writer.write(part)
        digest = writer.keep()
    finally:
        writer.drop()
    return replace(_read(service, digest, kind, title), url=address)


def _opener() -> urllib.request.OpenerDirector:
    """Return an opener without proxies and redirects, which could lead to other machines."""

    class Nowhere(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *args: Any, **kwargs: Any) -> None:
            return None

    return urllib.request.build_opener(urllib.request.ProxyHandler({}), Nowhere)


def _read(service: Service, digest: str, kind: str, title: str) -> NewUnit:
    content = service.assets.get(digest)
    if content is None:
        raise ValueError("its file is gone")
    with _on_disk(content) as path:
        unit = media.read_file(path, title, kind)
    return replace(unit, digest=digest)


@contextlib.contextmanager
def _on_disk(content: bytes | Path) -> Iterator[Path]:
    if isinstance(content, Path):
        yield content
        return
    with NamedTemporaryFile(prefix="encord-local-") as file:
        file.write(content)
        file.flush()
        yield Path(file.name)


Count = Annotated[int, Field(strict=True, ge=0, lt=2**31)]
Size = Annotated[int, Field(strict=True, ge=0, lt=2**63)]
Amount = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]


class _Stated(BaseModel):
    """The facts that a client may state about its file, under the names of :class:`NewUnit`."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)

    mime_type: str | None = None
    size: Size | None = Field(None, validation_alias=AliasChoices("fileSize", "file_size"))
    width: Count | None = None
    height: Count | None = None
    fps: Amount | None = None
    duration: Amount | None = None
    sample_rate: Count | None = None
    bit_depth: Count | None = None
    codec: str | None = None
    channels: Count | None = Field(None, validation_alias=AliasChoices("numChannels", "num_channels"))
    frames: Count | None = Field(None, validation_alias=AliasChoices("numPages", "num_pages"))


def _stated(unit: NewUnit, entry: Mapping[str, Any]) -> NewUnit:
    """Return a unit in which the facts that its client states replace those that were read.

    Raises:
        Refusal: 400, a fact is not valid.
    """
    stated: dict[str, Any] = {}
    for kind in ("image", "video", "audio", "text", "pdf"):
        stated |= Given(entry).part(f"{kind}_metadata").fields
    try:
        facts = checked(_STATED, stated)
    except LocalPlatformError as error:
        raise malformed(str(error)) from None
    return replace(unit, **facts.model_dump(exclude_none=True))


_STATED = TypeAdapter(_Stated)


def wanted(given: Given, *names: str) -> dict[str, Any]:
    """Return the files that a job should add, which are under one of several names.

    Raises:
        Refusal: 400, there are none; 403, they are in an unknown cloud integration.
    """
    for name in ("integration_id", "integration_hash"):
        if given.get(name) is not None and given.id(name) != INTEGRATION:
            raise forbidden(f"No access to the cloud integration {given.id(name)}.")
    for name in names:
        if given.get(name) is not None:
            return given.part(name).fields
    raise malformed("There is nothing to add.")


def keep(service: Service, job: Job, *, ignore_errors: bool, answer: Mapping[str, Any]) -> str:
    """Store the state of a job, for later requests, and return the job's uuid."""
    failed = bool(job.errors) and not ignore_errors
    state = {
        "status": "ERROR" if failed else "DONE",
        "errors": [f"{', '.join(addresses)[:500] or 'items'}: {reason}" for addresses, reason in job.errors],
        "units_pending_count": 0,
        "units_done_count": len(job.made),
        "units_error_count": len(job.errors),
        "units_cancelled_count": 0,
        "unit_errors": [
            {
                "object_urls": addresses, "error": reason, "subtask_uuid": str(uuid4()),
                "action_description": "Reading the file",
            }
            for addresses, reason in job.errors
        ],
        **answer,
    }  # fmt: skip
    name = str(uuid4())
    with service.database.write() as connection:
        connection.execute("INSERT INTO jobs VALUES (?, ?, ?)", (name, orjson.dumps(state).decode(), time.time()))
    return name


def state(service: Service, job: str) -> dict[str, Any] | None:
    """Return the state of a job, if there is one."""
    with service.database.read() as connection:
        row = connection.execute("SELECT answer FROM jobs WHERE uuid = ?", (job,)).fetchone()
    return None if row is None else orjson.loads(row["answer"])


def into_dataset(service: Service, dataset: str, job: Job) -> list[dict[str, str]]:
    """Link the items that a job has made to a dataset."""
    with service.database.write() as connection:
        hashes = datasets.link(connection, dataset, [row for row, _, _ in job.made])
    return [
        {"data_hash": hash, "title": name, "backing_item_uuid": item}
        for hash, (_, item, name) in zip(hashes, job.made, strict=True)
    ]
