"""Nothing that the local platform has acknowledged is lost, whatever happens to its process, directory and disk."""

from __future__ import annotations

import errno
import os
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from encord import EncordUserClient
from encord.exceptions import EncordException
from encord.http.constants import RequestsSettings
from encord.http.utils import CloudUploadSettings
from encord.objects.coordinates import BoundingBoxCoordinates
from tests import kinds, preloaded

from encord_agents.local import LocalPlatform, LocalPlatformError, Stage, Workflow, uploads
from encord_agents.local.assets import DirectoryWriter

COMMAND = Path(sys.executable).with_name("encord-agents")
WORKFLOW = Workflow([Stage("Annotate"), Stage("Review", "review"), Stage("Done", "done")])
ONCE = CloudUploadSettings(max_retries=0, backoff_factor=0.1)
BOX = BoundingBoxCoordinates(height=0.1, width=0.2, top_left_x=0.3, top_left_y=0.4)


class Process:
    """`encord-agents local up` in a process of its own."""

    def __init__(self, data: Path) -> None:
        clean = {key: value for key, value in os.environ.items() if not key.startswith("ENCORD_")}
        self._process = preloaded.Popen(
            [str(COMMAND), "local", "up", "--data", str(data), "--port", "0"],
            env=clean, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        domain = next(line for line in self._process.stdout if line.startswith("export ENCORD_DOMAIN="))
        settings = RequestsSettings(max_retries=0, connection_retries=0, connect_timeout=10, read_timeout=30)
        self.client = EncordUserClient.create_with_ssh_private_key(
            (data / "id_ed25519").read_text(), domain=domain.strip().partition("=")[2], requests_settings=settings
        )

    def kill(self) -> None:
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


def labelled(row: Any) -> None:
    row.initialise_labels()
    box = row.ontology_structure.objects[0].create_instance()
    box.set_for_frames(BOX, 0)
    row.add_object_instance(box)
    row.save()


@pytest.mark.timeout(600)
def test_killed_again_and_again(tmp_path: Path) -> None:
    """Saves, moves, uploads and new projects that were answered are there after a `kill -9`, each time."""
    data = tmp_path / "data"
    picture = kinds.picture(tmp_path / "a.png")
    platform = LocalPlatform(data)
    local = platform.create_project(workflow=WORKFLOW)
    local.add_placeholders(12)
    platform.close()
    items: list[Any] = []
    for round_ in range(4):
        process = Process(data)
        project = process.client.get_project(local.project_hash)
        rows = project.list_label_rows_v2()
        assert sum(row.label_hash is not None for row in rows) == 3 * round_
        assert len(list(project.workflow.get_stage(name="Review").get_tasks())) == 2 * round_
        assert [str(item.uuid) for item in process.client.get_storage_items(items)] == [str(item) for item in items]
        for row in [row for row in rows if row.label_hash is None][:3]:
            labelled(row)
        for task in list(project.workflow.get_stage(name="Annotate").get_tasks())[:2]:
            task.submit()
        folder = process.client.create_storage_folder(f"Folder {round_}")
        items.append(folder.upload_image(picture, cloud_upload_settings=ONCE))
        with ThreadPoolExecutor(
            4
        ) as pool:  # what is under way when it is killed may be there, or not, but never in part
            under_way = [pool.submit(folder.upload_image, picture, cloud_upload_settings=ONCE) for _ in range(8)]
            process.kill()
        assert all(call.done() for call in under_way)
    with LocalPlatform(data) as platform:
        client = platform.client(retries=False)
        for folder in client.list_storage_folders(search="Folder"):
            for item in folder.list_items(get_signed_urls=True):
                assert requests.get(str(item.get_signed_url()), timeout=60).content == picture.read_bytes()
        assert client.get_project(local.project_hash).list_label_rows_v2()[0].label_hash


def test_two_processes_on_one_directory(tmp_path: Path) -> None:
    """Both serve, both write, and each sees what the other has done."""
    with LocalPlatform(tmp_path / "data") as one, LocalPlatform(tmp_path / "data") as two:
        local = one.create_project(workflow=WORKFLOW)
        local.add_placeholders(40)
        clients = [platform.client(retries=False) for platform in (one, two)]
        projects = [client.get_project(local.project_hash) for client in clients]
        rows = [project.list_label_rows_v2() for project in projects]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(labelled, [*rows[0][:20], *rows[1][20:]]))
        assert all(row.label_hash for row in projects[1].list_label_rows_v2())
        ontology = clients[0].get_ontology(projects[0].ontology_hash)
        ontology.structure.add_object("New", ontology.structure.objects[0].shape)
        ontology.save()
        projects[1].refetch_ontology()
        row = projects[1].list_label_rows_v2()[0]
        row.initialise_labels()
        new = row.ontology_structure.get_child_by_title("New").create_instance()
        new.set_for_frames(BOX, 0)
        row.add_object_instance(new)
        row.save()
        assert len(two.projects()) == 1
        names = [f"tag {number}" for number in range(20)]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda n: clients[n % 2].create_organisation_tag(names[n]), range(20)))
            list(pool.map(lambda n: projects[n % 2].add_issue_tags([names[n]]), range(20)))
        assert {tag.name for tag in clients[0].list_organisation_tags()} == set(names)
        assert {tag.name for tag in projects[0].get_issue_tags()} == set(names)


def test_a_full_disk(tmp_path: Path) -> None:
    """A request that needs room is refused with a message and changes nothing; what there is can be read."""
    with LocalPlatform(tmp_path / "data") as platform:
        local = platform.create_project(workflow=WORKFLOW)
        local.add_placeholders(3)
        client = platform.client(retries=False)
        database = platform._service.database
        with database.read() as connection:
            (pages,) = connection.execute("PRAGMA page_count").fetchone()
            connection.execute(f"PRAGMA max_page_count = {pages}")
        refused = None
        for index in range(200):
            try:
                client.create_storage_folder(f"Folder {index}", description="x" * 1000)
            except EncordException as error:
                refused = error
                break
        assert refused is not None
        assert "no room on the disk" in str(refused)
        there = {folder.name for folder in client.list_storage_folders()}
        assert f"Folder {index}" not in there
        with database.read() as connection:
            connection.execute("PRAGMA max_page_count = 1000000")
        client.create_storage_folder("Room again")
        assert len(client.get_project(local.project_hash).list_label_rows_v2()) == 3
        platform.check()


@pytest.mark.parametrize(("version", "says"), [(99, "a newer version"), (1, "an older version")])
def test_a_database_of_another_version(tmp_path: Path, version: int, says: str) -> None:
    """It is a message, and the database stays as it is."""
    LocalPlatform(tmp_path / "data").close()
    path = tmp_path / "data" / "platform.sqlite3"
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    with pytest.raises(LocalPlatformError, match=says):
        LocalPlatform(tmp_path / "data")


def test_a_commit_that_fails(tmp_path: Path) -> None:
    """The change is refused and taken back; what is answered afterwards is on the disk."""
    with LocalPlatform(tmp_path / "data") as platform:
        client = platform.client(retries=False)
        database = platform._service.database
        real = database._connection

        class Full:
            """A connection to a disk that is full when a transaction ends, as SQLite may only find out then."""

            full = True

            def __getattr__(self, name: str) -> Any:
                return getattr(real, name)

            def execute(self, sql: str, *values: Any) -> Any:
                if sql == "COMMIT" and self.full:
                    error = sqlite3.OperationalError("database or disk is full")
                    error.sqlite_errorcode = sqlite3.SQLITE_FULL
                    raise error
                return real.execute(sql, *values)

        disk = Full()
        database._connection = disk  # type: ignore[assignment]
        with pytest.raises(EncordException, match="no room on the disk"):
            client.create_storage_folder("Lost")
        disk.full = False
        client.create_storage_folder("Kept")
        with sqlite3.connect(tmp_path / "data" / "platform.sqlite3") as other:
            assert [name for (name,) in other.execute("SELECT name FROM folders")] == ["Kept"]
        other.close()


def test_a_database_that_cannot_be_opened_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock, or a disk that is full, is said to be that: the file itself is sound."""
    LocalPlatform(tmp_path / "data").close()
    monkeypatch.setattr("encord_agents.local.database.PATIENCE", 0.05)
    with sqlite3.connect(tmp_path / "data" / "platform.sqlite3", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LocalPlatformError, match="Another process has kept the platform's database"):
            LocalPlatform(tmp_path / "data")
        other.execute("ROLLBACK")
    other.close()
    LocalPlatform(tmp_path / "data").close()


def test_a_disk_that_is_full_for_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The upload is refused with a message, and nothing of the file is left; the next one finds room again."""
    picture = kinds.picture(tmp_path / "a.png")
    with LocalPlatform(tmp_path / "data") as platform:
        folder = platform.client(retries=False).create_storage_folder("Folder")
        (address,) = uploads.signed(platform._service, None, 1)
        write = DirectoryWriter.write

        def full(writer: DirectoryWriter, part: bytes) -> None:
            write(writer, part[:10])
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(DirectoryWriter, "write", full)
            answer = requests.put(address["signedUrl"], data=picture.read_bytes(), timeout=10)
        assert answer.status_code == 507
        assert "no room on the disk" in answer.text
        assert [path for path in (tmp_path / "data" / "assets").rglob("*") if path.is_file()] == []
        item = folder.upload_image(picture, cloud_upload_settings=ONCE)
        assert platform.client().get_storage_item(item).name == "a.png"
        platform.check()


def test_what_a_killed_upload_left_is_removed(tmp_path: Path) -> None:
    """Once it is old enough to be nobody's any more."""
    LocalPlatform(tmp_path / "data").close()
    old, young = (tmp_path / "data" / "assets" / f"{name}.part" for name in ("old", "young"))
    for path in (old, young):
        path.write_bytes(b"half a file")
    os.utime(old, (0, 0))
    LocalPlatform(tmp_path / "data").close()
    assert not old.exists()
    assert young.exists()
