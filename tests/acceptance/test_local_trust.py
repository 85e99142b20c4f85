"""The local platform among strangers: pages of other origins, senders without a key, damaged directories."""

from __future__ import annotations

import http.client
import json
import socket
import sqlite3
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import orjson
import pytest
import requests
from tests import preloaded

from encord_agents.local import AgentStage, LocalPlatform, Stage, Workflow
from encord_agents.local.journal import LONGEST_PATH
from encord_agents.local.trouble import LocalPlatformError

WORKFLOW = Workflow([AgentStage("A", {"b": "B"}), Stage("B", "done")])


def address(platform: LocalPlatform) -> tuple[str, int]:
    parts = urlsplit(platform.domain)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Host": "localhost:1"}, 401),
        ({"Host": "LOCALHOST"}, 401),
        ({"Host": "[::1]:80"}, 401),
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1.evil.example:80"}, 403),
        ({"Host": "["}, 403),
        ({"Host": ""}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
@pytest.mark.parametrize("path", ["/v2/public/projects/x", "/public"])
def test_pages_of_other_origins(local_platform: LocalPlatform, path: str, headers: dict[str, str], status: int) -> None:
    """A request for another host's name, or of another origin's page, is refused before anything is looked at."""
    method = "POST" if path == "/public" else "GET"
    response = requests.request(method, local_platform.domain + path, headers=headers, timeout=10)
    found = response.status_code
    if path == "/public" and found == 200:
        found = response.json()["status"]  # the older protocol's envelope
    assert found == status
    assert "access-control-allow-origin" not in response.headers


def test_a_body_of_a_stranger_is_not_parsed(local_platform: LocalPlatform, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is parsed, and nothing kept, of a body before it is known who sent it."""
    parsed: list[int] = []
    loads = orjson.loads

    def counted(body: bytes) -> object:
        parsed.append(len(body))
        return loads(body)

    monkeypatch.setattr(orjson, "loads", counted)
    body = b"[" + b"[]," * 100_000 + b"[]]"
    for path, headers in (
        ("/public", {}),
        ("/public", {"Authorization": "0" * 64 + ":" + "00" * 64}),
        ("/v2/public/projects/x", {"Content-Type": "text/plain"}),
    ):
        response = requests.post(local_platform.domain + path, data=body, headers=headers, timeout=30)
        assert 401 in (response.status_code, response.json().get("status"))
    assert parsed == []


def test_what_is_kept_of_strangers_is_bounded(local_platform: LocalPlatform) -> None:
    """A long path is cut in the journal, and only some of the requests that were not known are remembered."""
    assert local_platform._door is not None
    for number in range(120):
        requests.get(f"{local_platform.domain}/{number}/" + "x" * (3 * LONGEST_PATH), timeout=10)
    assert len(local_platform._door.unknown) == 100
    assert max(len(entry.path) for entry in local_platform.journal) == LONGEST_PATH
    local_platform._door.unknown.clear()  # which would fail this test, as it should others


def test_slow_senders_are_dropped(local_platform: LocalPlatform, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that does not come to its end in time is refused."""
    from encord_agents.local import responses

    monkeypatch.setattr(responses, "SECONDS_PER_BODY", 0.05)
    with socket.create_connection(address(local_platform), timeout=30) as connection:
        connection.sendall(b"POST /public HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf")
        response = http.client.HTTPResponse(connection)
        response.begin()
        assert response.status == 408


def test_a_body_without_a_declared_length(local_platform: LocalPlatform) -> None:
    """A body in chunks is counted as it comes."""
    response = requests.post(f"{local_platform.domain}/public", data=iter([b"x" * 600] * 3), timeout=10)
    assert response.json()["status"] == 401


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_files_are_private(tmp_path: Path) -> None:
    """Pictures, key and database are their owner's alone, also in a directory that others can read."""
    tmp_path.chmod(0o755)
    (tmp_path / "assets").mkdir(mode=0o755)
    with LocalPlatform(tmp_path) as platform:
        platform.create_project(workflow=WORKFLOW).add_image("a.png")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any("assets" in str(path) for path in files)
    assert {mode(path) & 0o077 for path in files if path.suffix not in (".sqlite3-shm", ".sqlite3-wal")} == {0}
    assert mode(tmp_path / "assets") == 0o700


def test_a_picture_that_a_power_cut_emptied_is_mended(tmp_path: Path) -> None:
    """Adding the same file again writes it whole."""
    with LocalPlatform(tmp_path) as platform:
        project = platform.create_project(workflow=WORKFLOW)
        project.add_image("a.png")
        (kept,) = [path for path in (tmp_path / "assets").rglob("*") if path.is_file()]
        size = kept.stat().st_size
        kept.write_bytes(b"")
        project.add_image("a.png")
        assert kept.stat().st_size == size


def sql(statement: str) -> Callable[[Path], None]:
    def run(data: Path) -> None:
        connection = sqlite3.connect(data / "platform.sqlite3")
        connection.execute(statement)
        connection.commit()
        connection.close()

    return run


def garbage(data: Path) -> None:
    path = data / "platform.sqlite3"
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xa5" * (len(content) - 4096))
    for name in ("platform.sqlite3-wal", "platform.sqlite3-shm"):
        (data / name).unlink(missing_ok=True)


def assets_are_a_file(data: Path) -> None:
    for path in sorted((data / "assets").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (data / "assets").rmdir()
    (data / "assets").write_text("not a directory")


@pytest.mark.parametrize(
    "damage",
    [garbage, sql("UPDATE projects SET stages = 'no JSON'"), assets_are_a_file, sql("DROP TABLE tasks")],
    ids=["pages", "stages", "assets", "table"],
)
@pytest.mark.parametrize("command", [["status"], ["reset", "PROJECT"]], ids=["status", "reset"])
def test_damage_is_a_message(damage: Callable[[Path], None], command: list[str], tmp_path: Path) -> None:
    """A damaged data directory is a message and exit code 2, never a traceback, and nothing is made anew silently."""
    with LocalPlatform(tmp_path) as platform:
        project = platform.create_project(workflow=WORKFLOW)
        project.add_image("a.png")
    damage(tmp_path)
    command = [project.project_hash if part == "PROJECT" else part for part in command]
    done = preloaded.run(
        [sys.executable, "-m", "encord_agents.cli.main", "local", *command, "--data", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("Error: ")
    assert "Traceback" not in done.stderr


def test_damage_is_an_error_of_the_platform(tmp_path: Path) -> None:
    """As a library too: one kind of error, and the database is let go of."""
    with LocalPlatform(tmp_path) as platform:
        platform.create_project(workflow=WORKFLOW).add_image("a.png")
    assets_are_a_file(tmp_path)
    with pytest.raises(LocalPlatformError, match="damaged"):
        LocalPlatform(tmp_path)


def test_ranges_end_with_the_data(local_platform: LocalPlatform) -> None:
    """A label beyond the last frame is refused: the SDK makes an entry of each frame in between."""
    project = local_platform.create_project(workflow=WORKFLOW)
    project.add_image("a.png")
    client = local_platform.client()
    (row,) = client.get_project(project.project_hash).list_label_rows_v2()
    row.initialise_labels()
    scene = row.ontology_structure.classifications[0]
    instance = scene.create_instance()
    instance.set_answer(scene.attributes[0].options[0])
    instance.set_for_frames(0)
    row.add_classification_instance(instance)
    row.save()
    label = project.label(row.data_hash)
    assert label is not None
    text = json.dumps(label)
    assert "1000000" not in text
    (answer,) = label["classification_answers"].values()
    answer["range"] = [[0, 1_000_000]]
    from encord_agents.local import label_shape, labels
    from encord_agents.local.trouble import Refusal

    record = project._record
    found = labels.get(project._service.database, record, [row.label_hash or ""])[0]
    with pytest.raises(Refusal, match="beyond the end"):
        label_shape.check(label, found, record.features)
