"""`encord-agents local`: what its commands share, and what `up`, `create`, `status` and `reset` are told and say."""

from __future__ import annotations

import errno
import logging
import os
import shlex
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import requests
import typer

from encord_agents.cli import local
from encord_agents.exceptions import PrintableError
from encord_agents.local import AgentStage, LocalPlatform, LocalPlatformError, LocalProject, Stage, Workflow
from encord_agents.local.images import png

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Command

WORKFLOW = Workflow([AgentStage("Agent", {"go": "Done"}), Stage("Done", "done")])
STAGES = "stages: [{title: Agent, type: agent, pathways: {go: Done}}, {title: Done, type: done}]"

# Lines, paths and words


@pytest.mark.parametrize("err", [False, True])
def test_a_line(err: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """Write on the stream that is meant, with control characters escaped and lines left as lines."""
    local.say("a\x1b[2Jb\nc", err=err)
    said = "a\\x1b[2Jb\nc\n"
    assert capsys.readouterr() == (("", said) if err else (said, ""))


def test_a_home_directory_in_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Expand a ~ at the beginning, and leave every other path alone, and none."""
    monkeypatch.setenv("HOME", "/home/somebody")
    assert local.expanded(Path("~/pictures")) == Path("/home/somebody/pictures")
    assert local.expanded(Path("a/~/b")) == Path("a/~/b")
    assert local.expanded(None) is None


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left", "a.png"), "a.png: No space left."),
        (OSError(errno.ENOSPC, "No space left"), "No space left."),
        (OSError("odd"), "odd."),
    ],
)
def test_errors_of_the_machine(error: OSError, said: str) -> None:
    """Become a message with the file, where there is one, and keep the error as their cause."""
    app = typer.Typer(cls=local._Group)
    app.callback()(lambda: None)

    @app.command()
    def fail() -> None:
        raise error

    with pytest.raises(PrintableError) as raised:
        app(["fail"], standalone_mode=False)
    assert str(raised.value) == said
    assert raised.value.__cause__ is error


@pytest.mark.parametrize(("count", "text"), [(0, "0 tasks"), (1, "1 task"), (2, "2 tasks")])
def test_counts(count: int, text: str) -> None:
    """Read as English."""
    assert local.counted(count, "task") == text


def test_progress_now_and_then(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Tell of progress on stderr each time that two seconds have passed since the last line, and not before."""
    clock = [100.0]
    monkeypatch.setattr(local, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    progress = local.now_and_then("file")
    for done, now in enumerate((101.9, 102.0, 103.9, 104.0), start=0):
        clock[0] = now
        progress(done)
    assert capsys.readouterr() == ("", "# 1 file so far\n# 3 files so far\n")


def test_warnings_are_held_back(caplog: pytest.LogCaptureFixture) -> None:
    """Let errors of a logger through meanwhile, and all that it let through before as soon as the block is left."""
    logger = logging.getLogger("encord_agents.of_this_test")
    logger.setLevel(logging.INFO)
    with local._only_errors(logger.name):
        logger.warning("held back")
        logger.error("let through")
    logger.info("again")
    with pytest.raises(KeyError), local._only_errors(logger.name):
        raise KeyError
    assert caplog.messages == ["let through", "again"]
    assert logger.level == logging.INFO


# Commands to type next


@pytest.mark.parametrize(
    ("where", "typed"),
    [
        (local.DEFAULT_DATA, "encord-agents local up"),
        (Path("data"), "encord-agents local up --data data"),
        (Path("my data"), "encord-agents local up --data 'my data'"),
        (Path(os.fsdecode(b"d\xff")), "encord-agents local up --data 'd?'"),
    ],
)
def test_a_command_to_type_next(where: Path, typed: str) -> None:
    """Name the directory where it is not the default one, quoted, and in characters that can be printed."""
    assert local._command("up", where) == typed


@pytest.mark.parametrize("where", [Path("data"), Path("it's here")])
def test_the_key_file_for_a_shell(
    platform: LocalPlatform,
    where: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Lead to the key from any directory: the path is absolute, and quoted for a shell."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ENCORD_SSH_KEY", raising=False)
    local._say_exports("http://127.0.0.1:1", platform, where)
    key = f"ENCORD_SSH_KEY_FILE={tmp_path / where / 'id_ed25519'}"
    assert shlex.split(capsys.readouterr().out) == ["export", "ENCORD_DOMAIN=http://127.0.0.1:1", "export", key]


def test_the_key_itself_for_a_shell(
    platform: LocalPlatform, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Survive the shell with all its lines, where there is no file."""
    monkeypatch.delenv("ENCORD_SSH_KEY_FILE", raising=False)
    local._say_exports("http://127.0.0.1:1", platform, None)
    assert shlex.split(capsys.readouterr().out)[2:] == ["export", f"ENCORD_SSH_KEY={platform.ssh_key}"]


# The data directory


@pytest.mark.parametrize("there", ["nothing", "an empty directory", "a directory of that name"])
def test_no_platform_to_open(command: Command, data: Path, there: str) -> None:
    """Say which two commands make one, and make none: the directory stays as it was."""
    if there != "nothing":
        (data / "platform.sqlite3" if there == "a directory of that name" else data).mkdir(parents=True)
    before = sorted(data.rglob("*"))
    ran = command("local", "status")
    assert ran.code == 2
    assert ran.err == (
        "Error: There is no local platform in .encord-local. `encord-agents local create` makes one with a project, "
        "`encord-agents local up` an empty one.\n"
    )
    assert sorted(data.rglob("*")) == before
    assert data.exists() == (there != "nothing")


def test_an_opened_platform_is_let_go_of(platform: LocalPlatform, data: Path) -> None:
    """Close the database with the block, so that the directory can be moved or removed."""
    with local.existing(data) as opened:
        assert [project.title for project in opened.projects()] == ["Project"]
    with pytest.raises(LocalPlatformError, match="is closed"):
        opened.projects()


# Titles


@pytest.mark.parametrize(
    ("taken", "title"),
    [
        ([], "Local project"),
        (["Local project 2"], "Local project"),
        (["Local project", "Local project 3"], "Local project 2"),
        (["Local project", "Local project 2"], "Local project 3"),
    ],
)
def test_a_project_without_a_title(platform: LocalPlatform, taken: list[str], title: str) -> None:
    """Get the first number that no project has."""
    for one in taken:
        platform.create_project(title=one, workflow=WORKFLOW)
    assert local._free_title(platform, None) == title


@pytest.mark.parametrize("title", ["Project", "caf\udce9"])
def test_a_title_that_is_taken(platform: LocalPlatform, project: LocalProject, title: str) -> None:
    """Name the project that has it, also where only the readable form of the title is the same."""
    other = platform.create_project(title="caf\N{REPLACEMENT CHARACTER}", workflow=WORKFLOW)
    with pytest.raises(LocalPlatformError, match="--title") as raised:
        local._free_title(platform, title)
    assert (project if title == "Project" else other).project_hash in str(raised.value)


@pytest.mark.parametrize("title", ["", "   ", "\u00a0\t"])
def test_a_title_that_is_blank(platform: LocalPlatform, title: str) -> None:
    """Refuse it: nobody could name the project."""
    with pytest.raises(LocalPlatformError, match="A blank --title"):
        local._free_title(platform, title)


def test_a_title_that_is_free(platform: LocalPlatform) -> None:
    """Stay as it is."""
    assert local._free_title(platform, "project") == "project"


# Commands


def test_create_says_where_it_will_be_served(command: Command, tmp_path: Path) -> None:
    """Print the `export` line of the default port, and no option for it in the command that serves."""
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.png").write_bytes(png(8, 6))
    ran = command("local", "create", "--files", "files")
    assert ran.code == 0, ran.err
    assert "# Serve it with `encord-agents local up`;" in ran.out
    assert f"export ENCORD_DOMAIN=http://127.0.0.1:{local.DEFAULT_PORT}" in ran.out.splitlines()


def test_a_key_of_another_platform(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tell how to drop one that would win over the platform's own, or be a second: of `create` and `up`."""
    monkeypatch.delenv("ENCORD_SSH_KEY", raising=False)
    monkeypatch.delenv("ENCORD_SSH_KEY_FILE", raising=False)
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.png").write_bytes(png(8, 6))
    create = ("local", "create", "--files", "files")
    up, memory = ("local", "up", "--port", "0", "--open"), ("local", "up", "--memory", "--port", "0", "--open")
    interrupting(monkeypatch)
    assert "unset" not in command(*create).out + command(*up).out + command(*memory).out

    monkeypatch.setenv("ENCORD_SSH_KEY", "another")
    for ran in (command(*create, "--title", "b"), command(*up)):
        export, unset = ran.out.replace("# Stopped.\n", "").splitlines()[-2:]
        assert export.startswith("export ENCORD_SSH_KEY_FILE=")
        assert unset == "unset ENCORD_SSH_KEY"
    assert "unset" not in command(*memory).out
    monkeypatch.setenv("ENCORD_SSH_KEY_FILE", "another")
    assert "\nunset ENCORD_SSH_KEY_FILE\n" in command(*memory).out


def test_groups_of_create(command: Command, tmp_path: Path, data: Path) -> None:
    """Make one item of each directory's images, and refuse a kind of group that is none by naming those there are."""
    (tmp_path / "files" / "shots").mkdir(parents=True)
    for name in ("a.png", "b.png"):
        (tmp_path / "files" / "shots" / name).write_bytes(png(8, 6))
    wrong = command("local", "create", "--files", "files", "--groups", "heap")
    assert wrong.code == 2
    assert "--groups" in wrong.words
    assert "sequence" in wrong.words
    assert not data.exists()
    assert command("local", "create", "--files", "files", "--groups", "group").code == 0
    with local.existing(data) as platform:
        (project,) = platform.projects()
        assert [task.data_title for task in project.tasks()] == ["shots"]


def test_status_of_titles_that_would_forge_lines(command: Command, platform: LocalPlatform) -> None:
    """Show each title on one line, with control characters escaped, above the project's hash."""
    made = platform.create_project(title="a\nb\x1b[2J", workflow=WORKFLOW)
    lines = command("local", "status").out.splitlines()
    assert lines[lines.index(made.project_hash) - 1] == r"a b\x1b[2J"


def test_status_of_a_platform_without_projects(command: Command, platform: LocalPlatform) -> None:
    """Print the command that makes one, and nothing else."""
    platform.clear()
    ran = command("local", "status")
    assert ran.out == "There is no project yet: `encord-agents local create --files DIR` makes one.\n"


@pytest.mark.parametrize(
    ("tasks", "options", "said"),
    [
        (0, [], "0 tasks are at the start again; labels forgotten.\n"),
        (1, [], "1 task is at the start again; labels forgotten.\n"),
        (2, ["--keep-labels"], "2 tasks are at the start again; labels kept.\n"),
    ],
)
def test_reset_says_what_it_did(
    command: Command,
    platform: LocalPlatform,
    monkeypatch: pytest.MonkeyPatch,
    tasks: int,
    options: list[str],
    said: str,
) -> None:
    """Count the tasks of the project, given by its title, and tell what became of the labels."""
    platform.create_project(title="Other", workflow=WORKFLOW).add_placeholders(tasks)
    kept = []
    reset = LocalProject.reset

    def recorded(project: LocalProject, *, keep_labels: bool = False) -> int:
        kept.append(keep_labels)
        return reset(project, keep_labels=keep_labels)

    monkeypatch.setattr(LocalProject, "reset", recorded)
    assert command("local", "reset", "Other", *options).out == said
    assert kept == [bool(options)]


# Serving

Opened = list[str]


def interrupting(monkeypatch: pytest.MonkeyPatch, number: signal.Signals = signal.SIGINT) -> Opened:
    """Have the browser that `--open` opens ask for the page, and send the command a signal."""
    opened: Opened = []

    def browse(address: str) -> bool:
        opened.append(address)
        assert requests.get(address, timeout=60).status_code == 200
        signal.raise_signal(number)
        raise AssertionError("the signal was ignored")

    monkeypatch.setattr("webbrowser.open", browse)
    return opened


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_that_the_shell_has_ignored(
    command: Command, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """End it with exit code 0, as in the background of a script, and say so."""
    signal.signal(number, signal.SIG_IGN)
    interrupting(monkeypatch, number)
    ran = command("local", "up", "--memory", "--port", "0", "--open")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines()[-1] == "# Stopped."


def test_the_page_is_opened(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Open the address that the lines before named and that the SDK is led to, once it answers."""
    opened = interrupting(monkeypatch)
    ran = command("local", "up", "--port", "0", "--open")
    lines = ran.out.splitlines()
    assert [f"# Look at it in a browser: {address}" in lines for address in opened] == [True]
    assert [f"export ENCORD_DOMAIN={address.rstrip('/')}" in lines for address in opened] == [True]


def test_receivers_are_named(command: Command, platform: LocalPlatform, monkeypatch: pytest.MonkeyPatch) -> None:
    """Say which addresses are notified while it serves."""
    platform.clear()
    for path in ("a", "b"):
        platform.receivers.add(f"http://127.0.0.1:9/{path}")
    interrupting(monkeypatch)
    ran = command("local", "up", "--port", "0", "--open")
    named = [line.rpartition(" ")[2] for line in ran.out.splitlines() if "Notified" in line]
    assert named == ["http://127.0.0.1:9/a", "http://127.0.0.1:9/b"]


DEFAULTS = {
    "port": 0, "page_size": 100, "latency": 0.0, "latency_per_item": 0.0, "asset_latency": None, "journal_body": 0,
    "controls": False,
}  # fmt: skip


@pytest.mark.parametrize(
    ("options", "where", "changed"),
    [
        ([], local.DEFAULT_DATA, {}),
        (["--data", "else where"], Path("else where"), {}),
        (["--memory", "--data", "unused"], None, {}),
        (["--page-size", "1", "--latency", "0.001"], local.DEFAULT_DATA, {"page_size": 1, "latency": 0.001}),
        (["--latency-per-item", "0.5"], local.DEFAULT_DATA, {"latency_per_item": 0.5}),
        (["--asset-latency", "0"], local.DEFAULT_DATA, {"asset_latency": 0.0}),
        (["--controls"], local.DEFAULT_DATA, {"controls": True, "journal_body": 16_384}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_options_of_up(
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    where: Path | None,
    changed: dict[str, Any],
) -> None:
    """Reach the platform as they are given; bodies of requests are kept only where tests may ask for them."""
    made: list[tuple[Any, dict[str, Any]]] = []

    class Recorded(LocalPlatform):
        def __init__(self, data: Any, **given: Any) -> None:
            made.append((data, given))
            super().__init__(data, **given)

    monkeypatch.setattr("encord_agents.local.LocalPlatform", Recorded)
    interrupting(monkeypatch)
    assert command("local", "up", "--port", "0", "--open", *options).code == 0
    assert made == [(where, DEFAULTS | changed)]
    assert not Path("unused").exists()


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("up", "--port", "-1"),
        ("up", "--latency", "-0.1"),
        ("up", "--latency-per-item", "-1"),
        ("up", "--asset-latency", "-1"),
        ("up", "--page-size", "0"),
        ("up", "--placeholders", "-1"),
        ("create", "--port", "0"),
        ("create", "--port", "65536"),
    ],
)
def test_numbers_out_of_range(command: Command, data: Path, name: str, option: str, value: str) -> None:
    """Name the option, and begin nothing."""
    ran = command("local", name, *(["--files", "."] if name == "create" else []), option, value)
    assert (ran.code, ran.out) == (2, "")
    assert option in ran.words
    assert not data.exists()


def test_placeholders_without_a_number(command: Command, tmp_path: Path, data: Path) -> None:
    """Refuse a workflow that no project would have, and say which command takes one."""
    (tmp_path / "workflow.yaml").write_text(STAGES)
    ran = command("local", "up", "--port", "0", "--workflow", "workflow.yaml")
    assert ran.code == 2
    assert "`local create` makes one of files" in ran.err
    assert not data.exists()


def test_placeholders_are_made_once_it_serves(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data: Path
) -> None:
    """Make the project of placeholders, and name it as any other."""
    (tmp_path / "workflow.yaml").write_text(STAGES)
    interrupting(monkeypatch)
    ran = command("local", "up", "--port", "0", "--open", "--workflow", "workflow.yaml", "--placeholders", "3")
    with local.existing(data) as platform:
        (project,) = platform.projects()
        assert ran.out.splitlines()[0] == f"# project {project.project_hash} 'Placeholders'"
        assert [stage.tasks for stage in project.stages] == [3, 0]
