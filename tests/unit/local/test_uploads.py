"""Upload jobs: all files of a job become items, or none; private data is read on this machine only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.unit.local.asking import NOBODY, refused

from encord_agents.local import LocalPlatform, LocalProject, datasets, folders, uploads
from encord_agents.local.folders import Search
from encord_agents.local.images import png
from encord_agents.local.service import Given
from encord_agents.local.trouble import Refusal
from encord_agents.local.users import OWNER


@pytest.fixture
def folder(platform: LocalPlatform, project: LocalProject) -> str:
    with platform._service.database.write() as connection:
        return datasets.new_folder(connection, "Folder")


def sent(platform: LocalPlatform, content: bytes) -> str:
    """Send a file as clients do, and return its key."""
    service = platform._service
    service.domain = "http://127.0.0.1:1"
    (address,) = uploads.signed(service, None, 1)
    assert uploads.received(service, address["itemUuid"], service.assets.put(content), len(content))
    return str(address["objectKey"])


def run(platform: LocalPlatform, folder: str, given: Any, *, user: str = OWNER, ignore: bool = False) -> uploads.Job:
    return uploads.run(platform._service, folder, given, user, ignore_errors=ignore)


def test_all_or_none(platform: LocalPlatform, folder: str) -> None:
    """A file that cannot be read stops the job, unless errors are ignored; its title and the reason are told."""
    good, bad = sent(platform, png(4, 3)), sent(platform, b"no picture")
    given = {"images": [{"objectUrl": good, "title": "a"}, {"object_url": bad, "title": "b.png"}]}
    job = run(platform, folder, given)
    assert (job.made, len(job.errors)) == ([], 1)
    assert job.errors == [([bad], "b.png: no picture")]
    job = run(platform, folder, given, ignore=True)
    assert [name for _, _, name in job.made] == ["a"]
    state = uploads.state(platform._service, uploads.keep(platform._service, job, ignore_errors=True, answer={}))
    assert state is not None
    assert (state["status"], state["units_done_count"], state["units_error_count"]) == ("DONE", 1, 1)
    assert uploads.state(platform._service, "other") is None


@pytest.mark.parametrize(
    "again",
    [
        lambda key: {"images": [{"objectUrl": key}, {"objectUrl": key}]},
        lambda key: {"images": [{"objectUrl": key}], "imageGroups": [{"objectUrl_0": key}]},
        lambda key: {"imageGroups": [{"objectUrl_0": key, "objectUrl_1": key}]},
    ],
    ids=["twice", "in a group too", "in one group"],
)
def test_an_upload_that_is_named_twice(platform: LocalPlatform, folder: str, again: Any) -> None:
    """It becomes one item, so the second entry is an error of its own, and nothing else breaks."""
    given = again(sent(platform, png(4, 3)))
    job = run(platform, folder, given)
    assert job.made == []
    assert "upload it again" in job.errors[0][1]
    job = run(platform, folder, given, ignore=True)
    assert (len(job.made), len(job.errors)) in ((1, 1), (0, 1))
    platform.check()


def test_facts_that_are_stated(platform: LocalPlatform, folder: str) -> None:
    """They take the place of those that were read; others are not taken."""
    entry = {
        "objectUrl": sent(platform, png(4, 3)), "clientMetadata": {"a": 1},
        "imageMetadata": {"width": 40, "colour": "red", "fileSize": 2**32, "num_channels": 2},
    }  # fmt: skip
    ((row, _, _),) = run(platform, folder, {"images": [entry]}).made
    with platform._service.database.read() as connection:
        found = connection.execute("SELECT * FROM items WHERE id = ?", (row,)).fetchone()
    assert (found["width"], found["height"], found["metadata"]) == (40, 3, '{"a":1}')
    assert (found["size"], found["channels"]) == (2**32, 2)


@pytest.mark.parametrize(
    "stated", [{"width": "wide"}, {"width": 2**63}, {"fps": -1}, {"mimeType": 3}, {"height": True}]
)
def test_facts_that_cannot_be(platform: LocalPlatform, folder: str, stated: dict[str, Any]) -> None:
    """They are refused: nobody could read them back."""
    entry = {"objectUrl": sent(platform, png(4, 3)), "videoMetadata": stated}
    with pytest.raises(Refusal) as caught:
        run(platform, folder, {"images": [entry]})
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("upload:other", "no file was uploaded"),
        ("relative/path.png", "by its whole path"),
        ("/no/such/file.png", "there is no file"),
        ("https://example.com/a.png", "is not on this machine"),
        ("http://127.0.0.1.example.com/a.png", "is not on this machine"),
        ("ftp://127.0.0.1/a.png", "is not on this machine"),
    ],
)
def test_an_address_that_leads_nowhere(platform: LocalPlatform, folder: str, address: str, reason: str) -> None:
    """No other machine is asked for anything."""
    job = run(platform, folder, {"images": [{"objectUrl": address}]})
    assert reason in job.errors[0][1]


def test_files_of_this_machine_are_the_owners(platform: LocalPlatform, folder: str, tmp_path: Path) -> None:
    """Another user's key reads none of them."""
    path = tmp_path / "a b.png"
    path.write_bytes(png(4, 3))
    for address in (str(path), f"file://{tmp_path}/a%20b.png"):
        assert "only the platform's owner" in run(
            platform, folder, {"images": [{"objectUrl": address}]}, user="ann@example.com"
        ).errors[0][1]  # fmt: skip
        ((_, _, name),) = run(platform, folder, {"images": [{"objectUrl": address}]}).made
        assert name == "a b.png"


@pytest.mark.parametrize("kind", ["images", "imageGroups"])
def test_urls_that_are_there_already(platform: LocalPlatform, folder: str, tmp_path: Path, kind: str) -> None:
    """They are skipped if that is asked for, a group if all its URLs are the same; its metadata may be replaced."""
    urls = [str(tmp_path / name) for name in ("a.png", "b.png")]
    for url in urls:
        Path(url).write_bytes(png(4, 3))
    skip = {"skip_duplicate_urls": True}

    def add(*urls: str, metadata: Any = None, **options: bool) -> int:
        where = {"objectUrl": urls[0]} if kind == "images" else {f"objectUrl_{n}": url for n, url in enumerate(urls)}
        return len(run(platform, folder, {kind: [{**where, "clientMetadata": metadata}], **options}).made)

    def stored() -> list[str]:
        type = "image" if kind == "images" else "imageGroup"
        return [
            row["metadata"]
            for row in folders.find_items(platform._service.database, Search(types=[type]))
            if row["folder"] == folder
        ]

    assert add(*urls, metadata={"v": 1}, **skip) == 1
    assert (add(*urls, metadata={"v": 2}, **skip), stored()) == (0, ['{"v":1}'])
    assert (add(*urls, metadata={"v": 2}, upsert_metadata=True, **skip), stored()) == (0, ['{"v":2}'])
    assert (add(*urls, upsert_metadata=True, **skip), stored()) == (0, ['{"v":2}'])
    assert add(*urls[::-1], **skip) == 1
    assert (add(*urls, metadata={"v": 3}, upsert_metadata=True), len(stored())) == (1, 3)


@pytest.mark.parametrize("kinds", [("images", "imageGroups"), ("imageGroups", "images")])
def test_urls_that_a_group_has_as_well(
    platform: LocalPlatform, folder: str, tmp_path: Path, kinds: tuple[str, ...]
) -> None:
    """Files and a group of the same job are all added, in whatever order it lists them; a second job adds none."""
    urls = [str(tmp_path / name) for name in ("a.png", "b.png")]
    for url in urls:
        Path(url).write_bytes(png(4, 3))
    entries: dict[str, Any] = {
        "images": [{"objectUrl": url} for url in urls],
        "imageGroups": [{"title": "g", "objectUrl_0": urls[0], "objectUrl_1": urls[1]}],
    }
    given = {**{kind: entries[kind] for kind in kinds}, "skip_duplicate_urls": True}
    assert sorted(name for _, _, name in run(platform, folder, given).made) == ["a.png", "b.png", "g"]
    assert run(platform, folder, given).made == []


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"images": "x"}, 400),
        ({"images": [3]}, 400),
        ({"images": [{}]}, 400),
        ({"pictures": [{}]}, 400),
        ({"scenes": [{}]}, 501),
        ({"imageGroups": [{"title": "g"}]}, 400),
    ],
)
def test_a_job_that_is_none(platform: LocalPlatform, folder: str, given: Any, status: int) -> None:
    """It is refused, and nothing is made."""
    with pytest.raises(Refusal) as caught:
        run(platform, folder, given)
    assert caught.value.status == status


def test_the_list_of_files() -> None:
    """Under either name, in either case."""
    for body in ({"dataItems": {"a": 1}}, {"data_items": {"a": 1}}, {"externalFiles": {"a": 1}}):
        assert uploads.wanted(Given(body), "data_items", "external_files") == {"a": 1}
    with pytest.raises(Refusal):
        uploads.wanted(Given({}), "data_items")


@pytest.mark.parametrize("name", ["integrationId", "integration_hash"])
def test_files_of_an_integration(name: str) -> None:
    """There is one; another is unknown, and so refused."""
    assert uploads.wanted(Given({name: uploads.INTEGRATION, "files": {"a": 1}}), "files") == {"a": 1}
    with refused(403):
        uploads.wanted(Given({name: NOBODY, "files": {"a": 1}}), "files")


def test_a_group_of_items(platform: LocalPlatform, project: LocalProject, folder: str) -> None:
    """Of pictures, whose sizes need not be known; other items are refused, and an unreadable picture is named."""
    known, *_ = [row["uuid"] for row in folders.find_items(platform._service.database, Search())]
    project.add_file("plain.png", png(4, 3), item_type="image", mime_type="image/png")
    project.add_file("broken.png", b"no picture", item_type="image", mime_type="image/png")
    project.add_file("words.txt", b"words", item_type="plainText", mime_type="text/plain")
    plain, broken, words = (
        folders.find_items(platform._service.database, Search(search=name))[0]["uuid"]
        for name in ("plain.png", "broken.png", "words.txt")
    )

    def group(*items: str) -> uploads.Job:
        entry = {"title": "s", "imageItems": items, "createVideo": True}
        return run(platform, folder, {"imageGroupsFromItems": [entry]})

    assert [name for _, _, name in group(plain, known).made] == ["s"]
    assert "s: broken.png cannot be read as a picture" in group(known, broken).errors[0][1]
    for wrong in ([known, words], [known, known], []):
        with pytest.raises(Refusal) as caught:
            group(*wrong)
        assert caught.value.status == 400
