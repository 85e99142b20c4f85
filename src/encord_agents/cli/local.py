"""``encord-agents local``: a platform on this machine."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from encord_agents.cli.usage import CarefulGroup
from encord_agents.core.legible import literally, on_one_line
from encord_agents.exceptions import PrintableError
from encord_agents.extras import require

if TYPE_CHECKING:
    from encord_agents.local import LocalPlatform, LocalProject

DEFAULT_PORT = 8765
SECONDS_BETWEEN_LINES = 2.0
"""Seconds between the progress lines of a long operation."""
DEFAULT_DATA = Path(".encord-local")


class _Group(CarefulGroup):
    """The commands. The system's errors about a path are shown as messages, like a user's mistakes."""

    def invoke(self, ctx: Any) -> Any:
        """Run one of them."""
        try:
            return super().invoke(ctx)
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            raise PrintableError(f"{where}{error.strerror or error}.") from error


app = typer.Typer(no_args_is_help=True, cls=_Group)


def say(text: str, *, err: bool = False) -> None:
    """Write a line, on stderr if ``err``. Control characters in it, as in titles and file names, are escaped."""
    typer.echo(literally(text), err=err)


def expanded(path: Path | None) -> Path | None:
    """Expand the ~ of a path, which few shells do in ``--images=~/Pictures``."""
    return None if path is None else Path(os.path.expanduser(path))


Data = Annotated[
    Path, typer.Option("--data", metavar="DIR", callback=expanded, help="The directory of the platform's state.")
]
Port = Annotated[int, typer.Option("--port", min=0, max=65535, help="On 127.0.0.1; 0 takes a free one.")]


@app.callback()
def needs() -> None:
    """An Encord-compatible platform on this machine: no account needed."""
    require("local", "The local platform")


@app.command()
def up(
    data: Data = DEFAULT_DATA,
    port: Port = DEFAULT_PORT,
    latency: Annotated[float, typer.Option(min=0, help="Seconds before each answer.")] = 0.0,
    latency_per_item: Annotated[
        float, typer.Option(min=0, help="Additional seconds for each item in a request.")
    ] = 0.0,
    asset_latency: Annotated[
        float | None, typer.Option(min=0, help="Seconds before a file is served. Default: as --latency.")
    ] = None,
    page_size: Annotated[int, typer.Option(min=1, help="Tasks per page.")] = 100,
    placeholders: Annotated[
        int, typer.Option(min=0, help="Make a project with this many small grey pictures first (needs --workflow).")
    ] = 0,
    workflow: Annotated[
        Path | None,
        typer.Option(metavar="FILE", callback=expanded, help="The workflow of the project that --placeholders makes."),
    ] = None,
    memory: Annotated[bool, typer.Option("--memory", help="Keep everything in memory instead of --data.")] = False,
    controls: Annotated[
        bool, typer.Option("--controls", help="Let tests in other processes set faults, latency and clock over HTTP.")
    ] = False,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Serve until Ctrl-C. Print the address of the page, and the `export` lines that point the SDK here."""
    import signal
    from threading import Event

    from encord_agents.local import LocalPlatform
    from encord_agents.local.trouble import LocalPlatformError

    if placeholders and workflow is None:
        raise LocalPlatformError("--placeholders needs a --workflow for its project.")
    if workflow is not None and not placeholders:
        raise LocalPlatformError("--workflow is for the project of --placeholders; `local create` makes one of files.")
    # Set explicitly, so that both end it in the background of a script, too, where the shell ignores SIGINT.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    platform = LocalPlatform(
        None if memory else data,
        port=port,
        page_size=page_size,
        latency=latency,
        latency_per_item=latency_per_item,
        asset_latency=asset_latency,
        journal_body=0 if not controls else 16_384,
        controls=controls,
    )
    try:
        with platform:
            if workflow is not None:
                platform.create_project(title="Placeholders", workflow=workflow).add_placeholders(placeholders)
            projects = platform.projects()
            for project in projects:
                say(f"# project {project.project_hash} {project.title!r}")
            if not projects and not memory:
                say(f"# There is no project yet: `{_command('create', data)} --files DIR` makes one.")
            say(f"# The local platform is up at {platform.domain}; Ctrl-C ends it.")
            say(f"# Look at it in a browser: {platform.domain}/")
            for receiver in platform.receivers:
                say(f"# Notified when tasks wait in agent stages: {receiver.address}")
            say("# In the terminal of your agents:")
            _say_exports(platform.domain, platform, data if not memory else None)
            if open_page:
                import webbrowser

                webbrowser.open(f"{platform.domain}/")
            Event().wait()
    except KeyboardInterrupt:
        say("# Stopped.")


@app.command()
def create(
    files: Annotated[
        Path,
        typer.Option(
            "--files", "--images", metavar="DIR", callback=expanded, help="The files; subdirectories are included."
        ),
    ],
    workflow: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", callback=expanded, help="Stages and pathways, as YAML or JSON. Default: those of `init`."
        ),
    ] = None,
    ontology: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", callback=expanded, help="The ontology's editor, as JSON or YAML. Default: a small one."
        ),
    ] = None,
    groups: Annotated[
        Literal["group", "sequence"] | None,
        typer.Option(help="Make one image group, or sequence, of the images of each directory."),
    ] = None,
    title: Annotated[str | None, typer.Option(help="The project's title. Default: Local project.")] = None,
    data: Data = DEFAULT_DATA,
    port: Annotated[
        int, typer.Option("--port", min=1, max=65535, help="The port of `up`, for the `export` lines.")
    ] = DEFAULT_PORT,
) -> None:
    """Make a project of files. Print its hash and the `export` lines. The platform need not be up.

    Images, videos, audio, PDF, text, HTML, DICOM and NIfTI are taken, by their content. Other files, and those that
    cannot be read, are left out and named on stderr.
    """
    from encord_agents.local import LocalPlatform, collecting, starting
    from encord_agents.local.images import told
    from encord_agents.local.trouble import LocalPlatformError

    if not files.is_dir():
        raise LocalPlatformError(f"{files} is not a directory.")
    collecting.one_usable(files)
    with contextlib.closing(LocalPlatform(data)) as platform:
        title = _free_title(platform, title)
        with _only_errors("encord_agents.local.collecting"):  # skipped files are listed once, below
            project = platform.create_project(
                title=title, workflow=workflow or starting.default_workflow(), ontology=ontology, files=files,
                groups=groups, progress=now_and_then("file"),
            )  # fmt: skip
        for line in told(project.skipped, collecting.FILES.unknown):
            say(on_one_line(line), err=True)
        say(f"# project {project.title!r} with {collecting.counted(project.item_types())}")
        say(project.project_hash)
        if workflow is None:
            ways = ", ".join(f"{stage.title} ({stage.type})" for stage in project.stages)
            say(f"# Its stages: {ways}. `encord-agents local init` writes an agent for it, and files to change.")
        for line in _waiting_for_consensus(project, data):
            say(line, err=True)
        serve = _command("up", data) + ("" if port == DEFAULT_PORT else f" --port {port}")
        say(f"# Serve it with `{serve}`; in the terminal of your agents:")
        _say_exports(f"http://127.0.0.1:{port}", platform, data)


def now_and_then(what: str) -> Callable[[int], None]:
    """Return a progress callback that writes a line to stderr every few seconds."""
    said = [time.monotonic()]

    def progress(done: int) -> None:
        if time.monotonic() - said[0] >= SECONDS_BETWEEN_LINES:
            said[0] = time.monotonic()
            say(f"# {counted(done, what)} so far", err=True)

    return progress


def _free_title(platform: LocalPlatform, title: str | None) -> str:
    """Return a title that no project has yet.

    Raises:
        LocalPlatformError: The given title is blank, or taken.
    """
    from encord_agents.local.images import readable
    from encord_agents.local.trouble import LocalPlatformError

    if title is not None and not title.strip():
        raise LocalPlatformError("A blank --title cannot be seen: choose another, or leave it out.")
    taken = {project.title: project.project_hash for project in platform.projects()}
    if title is not None and readable(title) in taken:
        raise LocalPlatformError(
            f"There is a project {readable(title)!r} already: {taken[readable(title)]}.\n"
            "Choose another --title, or delete it with `encord-agents local delete`."
        )
    numbered = ("Local project" if number == 1 else f"Local project {number}" for number in itertools.count(1))
    return title or next(one for one in numbered if one not in taken)


@app.command()
def status(data: Data = DEFAULT_DATA) -> None:
    """Show each project's stages with their numbers of tasks."""
    from encord_agents.terminal.tables import show_table

    with existing(data) as platform:
        projects = platform.projects()
        for project in projects:
            say(f"{on_one_line(project.title)}\n{project.project_hash}")
            show_table(["stage", "type", "tasks"], [(stage.title, stage.type, stage.tasks) for stage in project.stages])
            for line in _waiting_for_consensus(project, data):
                say(line)
        if not projects:
            say(f"There is no project yet: `{_command('create', data)} --files DIR` makes one.")


def _waiting_for_consensus(project: LocalProject, data: Path) -> Iterator[str]:
    """Yield a line for each consensus stage: its tasks wait there until a command moves them."""
    import shlex

    for stage in project.stages:
        if stage.type.startswith("consensus"):
            title = shlex.quote(stage.title)
            yield on_one_line(
                f"# {stage.title}: consensus is not worked out here. Its tasks ({stage.tasks} now) wait until they are "
                f"moved: {_command('move', data)} {project.project_hash} {title} DESTINATION"
            )


@app.command()
def reset(
    project: Annotated[str, typer.Argument(metavar="PROJECT", help="The project's hash or title, as `status` has it.")],
    keep_labels: Annotated[bool, typer.Option("--keep-labels", help="Only move the tasks.")] = False,
    data: Data = DEFAULT_DATA,
) -> None:
    """Send all tasks of a project back to the start, and forget their labels."""
    with existing(data) as platform:
        count = platform.project(project).reset(keep_labels=keep_labels)
    be = "is" if count == 1 else "are"
    labels = "kept" if keep_labels else "forgotten"
    say(f"{counted(count, 'task')} {be} at the start again; labels {labels}.")


@contextlib.contextmanager
def _only_errors(name: str) -> Iterator[None]:
    """Hold back a logger's warnings while inside."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def existing(data: Path) -> contextlib.closing[LocalPlatform]:
    """Open the platform of a data directory until the block ends, without serving it.

    Raises:
        LocalPlatformError: The directory has no platform.
    """
    from encord_agents.local import LocalPlatform
    from encord_agents.local.trouble import LocalPlatformError

    if not (data / "platform.sqlite3").is_file():
        raise LocalPlatformError(
            f"There is no local platform in {data}. "
            f"`{_command('create', data)}` makes one with a project, `{_command('up', data)}` an empty one."
        )
    return contextlib.closing(LocalPlatform(data))


def _command(name: str, data: Path) -> str:
    """Return a command to type next."""
    import shlex

    where = "" if data == DEFAULT_DATA else f" --data {shlex.quote(str(data))}"
    return f"encord-agents local {name}{where}".encode("utf-8", "replace").decode()


def counted(count: int, what: str) -> str:
    """Return a number and its noun: ``1 task``, ``2 tasks``."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _say_exports(domain: str, platform: LocalPlatform, data: Path | None) -> None:
    """Write the `export` lines of the address and of the key, or of its file if there is one."""
    import shlex

    name, value, other = "ENCORD_SSH_KEY", platform.ssh_key, "ENCORD_SSH_KEY_FILE"
    if data is not None:
        name, value, other = other, str((data / "id_ed25519").absolute()), name
    say(f"export ENCORD_DOMAIN={domain}")
    typer.echo(os.fsencode(f"export {name}={shlex.quote(value)}"))  # as bytes: a path need not be UTF-8
    if os.environ.get(other):
        say(f"unset {other}")  # a key of another platform, which would be used, or at least be a warning
