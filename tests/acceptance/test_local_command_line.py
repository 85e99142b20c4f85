"""`encord-agents local`: what the installed command does, prints and refuses."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
import requests
from encord import EncordUserClient
from tests import preloaded
from tests.ports import free_port
from tests.waiting import PATIENCE

from encord_agents.local import LocalPlatform
from encord_agents.local.images import png

COMMAND = Path(sys.executable).with_name("encord-agents")
WORKFLOW = """
stages:
  - {title: Pre-label, type: agent, pathways: {go: Done}}
  - {title: Done, type: done}
"""
UNKNOWN = "11111111-1111-4111-8111-111111111111"


@dataclass
class Home:
    """A directory with pictures, a workflow and room for the platform's data, and the command run in it."""

    path: Path

    @property
    def data(self) -> Path:
        return self.path / "data"

    def environment(self) -> dict[str, str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("ENCORD_", "PYTHONWARNINGS"))}
        return {**clean, "COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return preloaded.run(
            [str(COMMAND), "local", *arguments],
            cwd=self.path, env=self.environment(), capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    def create(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run("create", "--images", "images", "--workflow", "workflow.yaml", "--data", "data", *arguments)

    def project(self) -> str:
        """Make a project. Returns its hash."""
        made = self.create()
        assert made.returncode == 0, made.stderr
        return hash_in(made.stdout)

    @contextmanager
    def up(self, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
        """The platform in a process, and the environment that its lines export."""
        with preloaded.Popen(
            [str(COMMAND), "local", "up", *arguments],
            cwd=self.path, env=self.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            try:
                assert process.stdout is not None
                lines = ""
                while len(exports(lines)) < 2:
                    line = process.stdout.readline()
                    assert line, process.stderr.read() if process.stderr else ""
                    lines += line
                yield process, exports(lines)
            finally:
                process.kill()


def hash_in(output: str) -> str:
    (found,) = re.findall(r"^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$", output, re.MULTILINE)
    return str(found)


def exports(output: str) -> dict[str, str]:
    """Return the environment that a shell would have after these lines."""
    try:
        words = shlex.split(output, comments=True)
    except ValueError:  # in the middle of a value of several lines
        return {}
    pairs = (after.partition("=") for word, after in pairwise(words) if word == "export")
    return {name: value for name, _, value in pairs}


def client(environment: dict[str, str]) -> EncordUserClient:
    return EncordUserClient.create_with_ssh_private_key(
        ssh_private_key_path=environment["ENCORD_SSH_KEY_FILE"], domain=environment["ENCORD_DOMAIN"]
    )


def refused(result: subprocess.CompletedProcess[str], *says: str) -> None:
    """A mistake is exit code 2 and a message with these words, and never a traceback."""
    assert result.returncode == 2, result
    assert "Traceback" not in result.stderr
    words = " ".join(result.stderr.split())
    for word in says:
        assert word in words, words


@pytest.fixture
def home(tmp_path: Path) -> Home:
    (tmp_path / "images" / "more").mkdir(parents=True)
    (tmp_path / "images" / "a.png").write_bytes(png(8, 6))
    (tmp_path / "images" / "more" / "b.png").write_bytes(png(6, 8, 20))
    (tmp_path / "images" / "notes.xyz").write_text("no picture, and not taken for a broken one")
    (tmp_path / "workflow.yaml").write_text(WORKFLOW)
    return Home(tmp_path)


def test_what_create_exports_leads_the_sdk_to_the_project(home: Home) -> None:
    """Hash, domain and key file, as printed, are all the SDK needs once `up` serves on that port."""
    port = free_port()
    made = home.create("--title", "Holidays", "--port", str(port))
    assert made.returncode == 0, made.stderr
    assert made.stderr == "left out: 1 file that is of no kind that the platform takes: 1 .xyz\n"
    environment = exports(made.stdout)
    key = Path(environment["ENCORD_SSH_KEY_FILE"])
    assert key.is_absolute()
    assert key.stat().st_mode & 0o777 == 0o600
    assert (home.data / "platform.sqlite3").stat().st_mode & 0o077 == 0
    with home.up("--data", "data", "--port", str(port)) as (_, served):
        assert served == environment
        project = client(environment).get_project(hash_in(made.stdout))
        assert project.title == "Holidays"
        rows = project.list_label_rows_v2()
        assert {row.data_title for row in rows} == {"a.png", "more/b.png"}
        assert len(list(project.workflow.get_stage(name="Pre-label").get_tasks())) == 2


def test_each_command_says_what_comes_next(home: Home) -> None:
    """With the options that were given; and a ~ that the shell left alone is a home directory."""
    environment = {**home.environment(), "HOME": str(home.path)}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(COMMAND), "local", *arguments]
        return preloaded.run(
            command, cwd=home.path, env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    refused(run("status", "--data=my data"), "`encord-agents local create --data 'my data'` makes one with a project")
    made = run("create", "--images=~/images", "--workflow=~/workflow.yaml", "--data=~/my data", "--port", "9000")
    assert made.returncode == 0, made.stderr
    assert f"`encord-agents local up --data '{home.path}/my data' --port 9000`" in made.stdout
    assert run("reset", hash_in(made.stdout), "--data=~/my data").returncode == 0
    LocalPlatform(home.path / "empty").close()
    assert "encord-agents local create --data empty" in run("status", "--data", "empty").stdout


def test_up_names_the_projects_it_has(home: Home) -> None:
    """In comments, so that the output can still be evaluated by a shell; with none, it says how to make one."""
    with preloaded.Popen(
        [str(COMMAND), "local", "up", "--data", "data", "--port", "0"],
        cwd=home.path, env=home.environment(), stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert "no project yet: `encord-agents local create --data data" in process.stdout.readline()
        process.terminate()
    project = home.project()
    with preloaded.Popen(
        [str(COMMAND), "local", "up", "--data", "data", "--port", "0"],
        cwd=home.path, env=home.environment(), stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == f"# project {project} 'Local project'\n"
        process.terminate()


def test_status_shows_stages_and_counts(home: Home) -> None:
    """Title, hash, and a line per stage with its type and its number of tasks."""
    project = home.project()
    shown = home.run("status", "--data", "data")
    assert shown.returncode == 0
    assert project in shown.stdout
    assert re.search(r"Pre-label\W+agent\W+2\b", shown.stdout)
    assert re.search(r"Done\W+done\W+0\b", shown.stdout)


def test_create_and_status_say_that_consensus_waits(home: Home) -> None:
    """Tasks of a consensus stage wait: both commands say so, and print the command that moves them."""
    text = "{title: Agree now, type: consensus_annotation}"
    (home.path / "workflow.yaml").write_text(WORKFLOW.replace("{title: Done", f"{text}\n  - {{title: Done"))
    made = home.create()
    hash = hash_in(made.stdout)
    command = f"encord-agents local move --data data {hash} 'Agree now' DESTINATION"
    assert command in made.stderr
    assert command in home.run("status", "--data", "data").stdout


@pytest.mark.parametrize("keep", [False, True])
def test_reset_while_the_platform_serves(home: Home, keep: bool) -> None:
    """Tasks are back at the start for whoever asks next; labels are forgotten, or kept with `--keep-labels`."""
    project_hash = home.project()
    with home.up("--data", "data", "--port", "0") as (_, environment):
        project = client(environment).get_project(project_hash)
        (row,) = project.list_label_rows_v2(data_title_eq="a.png")
        row.initialise_labels()
        row.save()
        for task in project.workflow.get_stage(name="Pre-label").get_tasks():
            task.proceed(pathway_name="go")
        done = home.run("reset", project_hash.upper(), "--data", "data", *(["--keep-labels"] if keep else []))
        assert done.returncode == 0
        assert "2 tasks" in done.stdout
        assert ("kept" if keep else "forgotten") in done.stdout
        assert len(list(project.workflow.get_stage(name="Pre-label").get_tasks())) == 2
        (row,) = project.list_label_rows_v2(data_title_eq="a.png")
        assert (row.label_hash is not None) is keep


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly_and_nothing_is_lost(home: Home, number: signal.Signals) -> None:
    """Exit code 0 within seconds; after a restart keys, projects and the places of tasks are what they were."""
    project_hash = home.project()
    with home.up("--data", "data", "--port", "0") as (process, environment):
        project = client(environment).get_project(project_hash)
        next(iter(project.workflow.get_stage(name="Pre-label").get_tasks())).proceed(pathway_name="go")
        process.send_signal(number)
        output, errors = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, errors
        assert "Stopped" in output
        assert errors == ""
        with pytest.raises(requests.ConnectionError):
            requests.get(environment["ENCORD_DOMAIN"], timeout=60)
    with home.up("--data", "data", "--port", "0") as (_, again):
        assert again["ENCORD_SSH_KEY_FILE"] == environment["ENCORD_SSH_KEY_FILE"]
        project = client(again).get_project(project_hash)
        assert len(list(project.workflow.get_stage(name="Done").get_tasks())) == 1


def test_a_kill_loses_nothing_that_was_answered(home: Home) -> None:
    """Everything that was answered before `kill -9` is there after a restart."""
    project_hash = home.project()
    with home.up("--data", "data", "--port", "0") as (process, environment):
        project = client(environment).get_project(project_hash)
        next(iter(project.workflow.get_stage(name="Pre-label").get_tasks())).proceed(pathway_name="go")
        process.kill()
        process.wait(PATIENCE)
    assert re.search(r"Done\W+done\W+1\b", home.run("status", "--data", "data").stdout)


def test_a_platform_in_memory(home: Home) -> None:
    """`--memory` leaves nothing behind, and exports the key itself."""
    up = home.up("--memory", "--port", "0", "--placeholders", "3", "--workflow", "workflow.yaml")
    with up as (_, environment):
        user = EncordUserClient.create_with_ssh_private_key(
            environment["ENCORD_SSH_KEY"], domain=environment["ENCORD_DOMAIN"]
        )
        (project,) = user.list_projects()
        assert len(user.get_project(str(project.project_hash)).list_label_rows_v2()) == 3
    assert {path.name for path in home.path.iterdir()} == {"images", "workflow.yaml"}


def test_a_taken_port(home: Home) -> None:
    """It is named, with what to do."""
    with LocalPlatform() as platform:
        port = platform.domain.rpartition(":")[2]
        refused(home.run("up", "--data", "data", "--port", port), f"Port {port}", "--port")


def test_what_up_refuses(home: Home) -> None:
    """Options that mean nothing together, and a port that is none."""
    refused(home.run("up", "--placeholders", "3"), "--placeholders needs a --workflow")
    refused(home.run("up", "--workflow", "workflow.yaml"), "--placeholders")
    refused(home.run("up", "--port", "70000"), "--port")


def test_an_unknown_project_to_reset(home: Home) -> None:
    """The message lists the projects there are."""
    known = home.project()
    refused(home.run("reset", "not-a-hash", "--data", "data"), "not-a-hash", known)


@pytest.mark.parametrize("arguments", [["status"], ["reset", UNKNOWN]])
def test_no_platform_there(home: Home, arguments: list[str]) -> None:
    """Looking does not make one: a directory without a platform is a mistake, and stays as it was."""
    refused(home.run(*arguments, "--data", "elsewhere"), "elsewhere", "encord-agents local up")
    assert not (home.path / "elsewhere").exists()


def test_a_broken_picture_is_named_and_left_out(home: Home) -> None:
    """Once, on stderr, with its path; the others are in the project."""
    images = home.path / "images"
    (images / "cut.png").write_bytes(png(64, 64)[:60])
    (images / "words.jpg").write_text("these are not pixels")
    (images / "empty.gif").touch()
    made = home.create()
    assert made.returncode == 0, made.stderr
    *named, counted = made.stderr.splitlines()
    assert counted == "left out: 1 file that is of no kind that the platform takes: 1 .xyz"
    assert sorted(line.split(":")[1].strip() for line in named) == [
        "images/cut.png",
        "images/empty.gif",
        "images/words.jpg",
    ]
    assert "2 images" in made.stdout
    with LocalPlatform(home.data) as platform:
        assert {task.data_title for task in platform.project(hash_in(made.stdout)).tasks()} == {"a.png", "more/b.png"}


def test_names_that_are_not_utf_8(home: Home) -> None:
    """A picture's title is readable, one that is left out is named, and the key file's path can still be used."""
    images, data = home.path / os.fsdecode(b"im\xff"), home.path / os.fsdecode(b"da\xff")
    images.mkdir()
    (images / os.fsdecode(b"caf\xe9.png")).write_bytes(png(8, 6))
    (images / os.fsdecode(b"cut\xff.png")).write_bytes(png(8, 6)[:20])
    strict = {**home.environment(), "PYTHONIOENCODING": "utf-8:strict"}
    made = preloaded.run(
        [str(COMMAND), "local", "create", "--images", images, "--workflow", "workflow.yaml", "--data", data,
         "--title", os.fsdecode(b"\xff")],
        cwd=home.path, env=strict, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    assert b"/da\xff/id_ed25519" in made.stdout
    assert "cut\N{REPLACEMENT CHARACTER}.png" in made.stderr.decode()
    with LocalPlatform(data) as platform:
        (project,) = platform.projects()
        client = platform.client()
        (row,) = client.get_project(project.project_hash).list_label_rows_v2()
        assert row.data_title == "caf\N{REPLACEMENT CHARACTER}.png"
        assert project.title == "\N{REPLACEMENT CHARACTER}"
        url = client.get_storage_item(row.backing_item_uuid, sign_url=True).get_signed_url()
        assert requests.get(url, timeout=60).content == png(8, 6)


def test_images_that_are_none(home: Home) -> None:
    """A directory that is missing, is a file, or has no picture: no project is made."""
    (home.path / "empty").mkdir()
    for given, says in (
        ("nowhere", "not a directory"),
        ("workflow.yaml", "not a directory"),
        ("empty", "There is no file in empty"),
    ):
        arguments = ["--images", given, "--workflow", "workflow.yaml", "--data", "data"]
        refused(home.run("create", *arguments), given, says)
    (home.path / "images" / "a.png").write_bytes(b"")
    (home.path / "images" / "more" / "b.png").unlink()
    refused(home.create(), "images/a.png", "No file in images could be used")
    assert not home.data.exists()


@pytest.mark.parametrize(
    ("option", "name", "text", "says"),
    [
        ("--workflow", "none.yaml", None, "No such file"),
        ("--workflow", "bad.yaml", "stages: [", "neither YAML nor JSON"),
        ("--workflow", "typo.yaml", WORKFLOW.replace("Done}}", "Dome}}"), "did you mean 'Done'?"),
        ("--ontology", "none.json", None, "No such file"),
        ("--ontology", "bad.json", '{"objects": [', "neither YAML nor JSON"),
        ("--ontology", "lacking.json", '{"objects": [{"id": "1", "name": "Cat"}]}', "objects[0].shape: is missing"),
    ],
)
def test_a_file_that_makes_no_sense(home: Home, option: str, name: str, text: str | None, says: str) -> None:
    """The message names the file and what is wrong with it; no project is made."""
    if text is not None:
        (home.path / name).write_text(text)
    refused(home.create(option, name), name, says)
    with LocalPlatform(home.data) as platform:
        assert platform.projects() == []


def test_an_ontology_of_the_users_own(home: Home) -> None:
    """A file with an editor is the project's ontology."""
    editor = {"objects": [{"id": "1", "name": "Cat", "color": "#D33115", "shape": "polygon", "featureNodeHash": "c4t"}]}
    (home.path / "ontology.json").write_text(json.dumps(editor))
    made = home.create("--ontology", "ontology.json")
    with LocalPlatform(home.data) as platform:
        structure = platform.client().get_project(hash_in(made.stdout)).ontology_structure
    assert [found.name for found in structure.objects] == ["Cat"]


def test_a_data_directory_that_is_something_else(home: Home) -> None:
    """A file, or a directory whose key or database is not ours: named, and left as it is."""
    refused(home.run("up", "--port", "0", "--data", "workflow.yaml"), "workflow.yaml", "data directory")
    home.data.mkdir()
    (home.data / "id_ed25519").write_text("somebody's words")
    refused(home.create(), "id_ed25519", "not an Ed25519 private key")
    (home.data / "id_ed25519").unlink()
    (home.data / "platform.sqlite3").write_text("somebody's words, and more than a page header of them" * 20)
    refused(home.create(), "platform.sqlite3", "not a database")
    assert (home.data / "platform.sqlite3").read_text().startswith("somebody's words")


@pytest.mark.parametrize(
    ("command", "options"),
    [
        (
            [],
            [
                "up",
                "create",
                "status",
                "reset",
                "init",
                "delete",
                "submit",
                "approve",
                "reject",
                "move",
                "pull",
                "diff",
            ],
        ),
        (["up"], ["--data", "--port", "--latency", "--page-size", "--placeholders", "--workflow", "--memory"]),
        (["create"], ["--files", "--images", "--groups", "--workflow", "--ontology", "--title", "--data", "--port"]),
        (["status"], ["--data"]),
        (["pull"], ["PROJECT_HASH", "--stage", "--max-tasks", "--with-labels", "--with-files", "--data"]),
        (["reset"], ["PROJECT", "--keep-labels", "--data"]),
    ],
)
def test_help(home: Home, command: list[str], options: list[str]) -> None:
    """`--help` of each command shows its options, and does nothing."""
    shown = home.run(*command, "--help")
    assert shown.returncode == 0
    for option in options:
        assert re.search(rf"(?i)(?<![\w-]){re.escape(option)}\b", shown.stdout), option
    assert not (home.path / ".encord-local").exists()
