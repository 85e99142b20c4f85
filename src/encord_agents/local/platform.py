"""The platform: state, server, key, and what a test wants to go wrong."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self
from uuid import UUID

from pydantic import Field

from encord_agents.local import collecting, editor_agents, keys, ontologies, pulling
from encord_agents.local.assets import AssetStore, Clock, DirectoryAssets, MemoryAssets, Signer
from encord_agents.local.catalogue import Catalogue
from encord_agents.local.database import Database
from encord_agents.local.door import Door, Outage
from encord_agents.local.faults import Faults
from encord_agents.local.images import readable
from encord_agents.local.journal import Journal
from encord_agents.local.notifier import Notifier
from encord_agents.local.project import LocalProject
from encord_agents.local.receivers import Receivers
from encord_agents.local.server import HOST, Server
from encord_agents.local.service import Service, Settings
from encord_agents.local.trouble import LocalPlatformError, UnknownRequestError
from encord_agents.local.users import OWNER
from encord_agents.local.workflow import Workflow
from encord_agents.local.written import Number, Options

if TYPE_CHECKING:
    from encord import EncordUserClient
    from encord.objects import OntologyStructure


class _Start(Options):
    """The options that cannot be changed any more once the platform is there."""

    port: int = Field(ge=0, le=65535)
    url_lifetime: Number
    journal_body: int = Field(ge=0)
    controls: bool


class _NewProject(Options):
    """The options of a new project that are plain values."""

    title: str
    description: str
    project_type: Literal["workflow", "manual_qa"]


class LocalPlatform:
    """An Encord-compatible platform on this machine. Entering it starts the server; the state is there before that.

    Args:
        data: The directory that keeps the state; ``None`` keeps it in memory.
        port: 0 takes a free one. Only 127.0.0.1 is served.
        page_size: Tasks per page.
        page_tokens: ``keyset`` tokens survive tasks being moved between pages; ``offset`` tokens skip some.
        shuffle: Answer lists in another order than the one asked for.
        latency: Seconds that pass before each answer to an API request.
        latency_per_item: Further seconds for each row, task or item in it.
        asset_latency: Seconds before a file is served; ``None``: as ``latency``.
        url_lifetime: Seconds that signed URLs are good for; with a negative one they have expired when they are made.
        controls: Answer below ``/local-platform/`` too: faults, settings, journal and clock over HTTP, unsigned.
        journal_body: How many bytes of each request's body the journal keeps.

    Raises:
        LocalPlatformError: An option makes no sense, the port is taken, or the directory holds something else.
    """

    def __init__(
        self,
        data: str | Path | None = None,
        *,
        port: int = 0,
        page_size: int = 100,
        page_tokens: Literal["keyset", "offset"] = "keyset",
        shuffle: bool = False,
        latency: float = 0.0,
        latency_per_item: float = 0.0,
        asset_latency: float | None = None,
        url_lifetime: float = 3600.0,
        journal_body: int = 16_384,
        controls: bool = False,
    ) -> None:
        # Before anything is made, in memory or on disk.
        self._start = _Start(port=port, url_lifetime=url_lifetime, journal_body=journal_body, controls=controls)
        self.settings = Settings(
            page_size=page_size, page_tokens=page_tokens, shuffle=shuffle, latency=latency,
            latency_per_item=latency_per_item, asset_latency=asset_latency,
        )  # fmt: skip
        self._settings_at_first = self.settings.model_copy()
        self.journal = Journal(body_limit=journal_body)
        self.faults = Faults()
        assets: AssetStore
        if data is None:
            self.ssh_key = keys.new_key()
            database, assets = Database(None), MemoryAssets()
        else:
            database, assets, self.ssh_key = _opened(Path(data))
        clock = Clock()
        with _damage_named(data, database):
            database.add_key(keys.key_id(self.ssh_key), OWNER)
            signer = Signer(database.secret(), url_lifetime, clock)
            self._service = Service(database, Catalogue(database), assets, signer, self.settings, clock)
        self.receivers = Receivers(self._service)
        """The addresses that are notified when tasks wait in agent stages, while the platform is up."""
        self._server: Server | None = None
        self._door: Door | None = None
        self._notifier: Notifier | None = None

    def start(self) -> None:
        """Serve. Returns when requests are answered.

        Raises:
            LocalPlatformError: The port is taken, or the platform was closed.
        """
        if self._server is not None:
            return
        with self._service.database.read():  # raises if it is closed
            pass
        server = Server(self._start.port)
        self._service.domain = f"http://{HOST}:{server.port}"
        self._door = Door(self._service, self.faults, self.journal, server.hang_up, controls=self._start.controls)
        server.start(self._door.application)
        self._server = server
        self._notifier = Notifier(self._service)
        self._notifier.start()

    def close(self) -> None:
        """Stop serving, cutting off what is under way, and let go of the state."""
        if self._notifier is not None:
            self._notifier.stop()
            self._notifier = None
        if self._server is not None:
            self._server.stop()
            self._server = None
        self._service.database.close()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def domain(self) -> str:
        """``http://127.0.0.1:PORT``."""
        if not self._service.domain:
            raise LocalPlatformError("The platform is not running: use it in a `with` block, or call start().")
        return self._service.domain

    def environment(self) -> dict[str, str]:
        """The environment variables that lead here."""
        return {"ENCORD_DOMAIN": self.domain, "ENCORD_SSH_KEY": self.ssh_key}

    def client(self, *, retries: bool = True) -> EncordUserClient:
        """The SDK's client for this platform. ``retries=False``: it gives up at the first trouble, and within 30 s."""
        from encord import EncordUserClient
        from encord.http.constants import RequestsSettings

        settings = RequestsSettings()
        if not retries:
            settings = RequestsSettings(
                max_retries=0, connection_retries=0, connect_timeout=30, read_timeout=30, write_timeout=30
            )
        return EncordUserClient.create_with_ssh_private_key(
            self.ssh_key, domain=self.domain, requests_settings=settings
        )

    def create_project(
        self,
        *,
        title: str = "Local project",
        description: str = "",
        workflow: Workflow | Mapping[str, Any] | str | Path,
        ontology: Mapping[str, Any] | OntologyStructure | str | Path | None = None,
        project_type: Literal["workflow", "manual_qa"] = "workflow",
        images: str | Path | Iterable[str | Path] | None = None,
        files: str | Path | Iterable[str | Path] | None = None,
        groups: collecting.Groups | None = None,
        progress: Callable[[int], None] = lambda done: None,
    ) -> LocalProject:
        """Make a project.

        Args:
            ontology: Default: ``Person`` boxes, a ``Scene`` radio.
            images: Picture files, or a directory, to begin with, as for ``LocalProject.add_images``.
            files: Files of every kind, or a directory, as for ``LocalProject.add_files``. Default: no data yet.
            groups: Make an image group or sequence of the pictures of each directory.
            progress: Told how many files are read.

        Raises:
            WorkflowError: The workflow makes no sense.
            LocalPlatformError: Another option does not, or no file can be used. No project is made.
        """
        _NewProject(title=readable(title), description=description, project_type=project_type)
        resolved, editor = Workflow.of(workflow), ontologies.editor(ontology)
        if images is not None and files is not None:
            raise LocalPlatformError("images, files: give one of the two.")
        found, assets = collecting.Collected([], [], []), self._service.assets
        wanted = collecting.FILES if images is None else collecting.PICTURES
        if (given := files if images is None else images) is not None:
            found = collecting.collect(given, assets, wanted=wanted, groups=groups, some=True, progress=progress)
        with self._service.database.write():  # the project with its data, or neither
            record = self._service.catalogue.create(
                title=readable(title), description=description, type=project_type, workflow=resolved, editor=editor
            )
            collecting.add(self._service.database, self._service.assets, record, found, groups)
        project = LocalProject(self._service, record)
        project.skipped = found.skipped
        return project

    def add_workflow_template(
        self, workflow: Workflow | Mapping[str, Any] | str | Path, *, title: str = "Template"
    ) -> str:
        """Make a workflow template. Returns its uuid, for ``client.create_project(workflow_template_hash=...)``.

        Raises:
            WorkflowError: The workflow makes no sense.
        """
        return self._service.catalogue.add_template(readable(title), Workflow.of(workflow))

    def add_user(self, email: str) -> str:
        """Make a key for a user. Returns the private key; roles come from ``project.add_users`` of the SDK.

        Raises:
            LocalPlatformError: That is no email.
        """
        if "@" not in email or len(email) > 320 or not email.isprintable():
            raise LocalPlatformError(f"{email!r} is no email.")
        key = keys.new_key()
        self._service.database.add_key(keys.key_id(key), email)
        return key

    def add_editor_agent(self, name: str, address: str, *, elsewhere: bool = False) -> None:
        """Register an editor agent, or give it another address: the page has a button for it on each task and object.

        Args:
            name: On the button.
            address: Where it takes requests, for instance ``http://127.0.0.1:8080/my-agent``.
            elsewhere: Allow an address of another machine.

        Raises:
            LocalPlatformError: The name or the address cannot be used.
        """
        editor_agents.add(self._service, name, address, elsewhere=elsewhere)

    def remove_editor_agent(self, name: str) -> None:
        """Forget an editor agent.

        Raises:
            LocalPlatformError: There is none of this name.
        """
        editor_agents.remove(self._service, name)

    def editor_agents(self) -> dict[str, str]:
        """The addresses of the registered editor agents, by name."""
        return {agent.name: agent.address for agent in editor_agents.registered(self._service)}

    def project(self, project_hash: str | UUID) -> LocalProject:
        """A project by its hash, with or without hyphens, or by its title where no other has it."""
        try:
            record = self._service.catalogue.project(str(UUID(str(project_hash).strip())))
        except ValueError:
            named = [found for found in self._service.catalogue.projects() if found.title == project_hash]
            record = named[0] if len(named) == 1 else None
        if record is None:
            known = "\n".join(f"  - {found.project_hash} ({found.title})" for found in self.projects())
            raise LocalPlatformError(f"There is no project {project_hash}. There are:\n{known or '  none'}")
        return LocalProject(self._service, record)

    def projects(self) -> list[LocalProject]:
        """All projects, oldest first."""
        return [LocalProject(self._service, record) for record in self._service.catalogue.projects()]

    @property
    def max_in_flight(self) -> int:
        """The most API requests there ever were at the same time."""
        return self._door.max_in_flight if self._door is not None else 0

    def pull(
        self,
        client: EncordUserClient,
        project_hash: str | UUID,
        *,
        stage: str | None = None,
        max_tasks: int | None = None,
        with_labels: bool = False,
        with_files: bool = False,
        progress: Callable[[int, str], None] = lambda done, what: None,
    ) -> LocalProject:
        """Copy what a client of another platform can read of a project. Called again, it goes on where it ended.

        Args:
            client: Of the other platform. Nothing is written there.
            stage: Only tasks of this stage, by title or uuid.
            max_tasks: At most so many tasks of each stage.
            with_labels: The labels, too.
            with_files: The files, too. Without them items have their facts, and no content.
            progress: Told how many tasks are done, and which stage is being read.

        Returns:
            The copy; ``skipped`` says what could not be copied.

        Raises:
            LocalPlatformError: The project has no such stage.
        """
        pulled = pulling.pull(
            self._service, client, str(project_hash), stage=stage, max_tasks=max_tasks, with_labels=with_labels,
            with_files=with_files, progress=progress,
        )  # fmt: skip
        project = LocalProject(self._service, pulled.record)
        project.skipped = pulled.skipped
        return project

    def clear(self) -> None:
        """Forget all projects, data, users and requests, faults and outages; the address and the key stay.

        The settings are as they were given, and the clock is right.
        """
        for name, value in self._settings_at_first:
            setattr(self.settings, name, value)
        self._service.clock.ahead = 0.0
        self._service.database.clear(keep=keys.key_id(self.ssh_key))
        self._service.assets.clear()
        self.faults.clear()
        self.journal.clear()
        self.down(False)
        if self._door is not None:
            self._door.unknown.clear()
            self._door.bugs.clear()

    def down(self, down: bool = True, *, how: Outage = "refuse") -> None:
        """An outage: until ``down(False)``, connections are dropped, or (``how="503"``) every answer is a 503."""
        if self._door is not None:
            self._door.outage = how if down else None

    def check(self) -> None:
        """Complain about requests that the platform did not know, or failed at.

        Raises:
            UnknownRequestError: There were requests it does not know.
        """
        if self._door is None:
            return
        if self._door.bugs:
            raise self._door.bugs[0]
        if self._door.unknown:
            raise UnknownRequestError(self._door.unknown)


def _opened(directory: Path) -> tuple[Database, AssetStore, str]:
    """Return what a data directory holds, made where it is new.

    Raises:
        LocalPlatformError: It cannot be opened, or holds something else.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise LocalPlatformError(f"{directory} cannot be the data directory: {error.strerror}.") from error
    key = directory / "id_ed25519"
    if key.exists():
        keys.key_in(key)  # two things may be somebody else's: both are looked at before either is made
    database = Database(directory / "platform.sqlite3")
    with _damage_named(directory, database):
        return database, DirectoryAssets(directory / "assets"), keys.key_in(key)


@contextlib.contextmanager
def _damage_named(data: object, database: Database) -> Iterator[None]:
    """Turn what goes wrong with a damaged data directory into a message, and let go of the database."""
    try:
        yield
    except (sqlite3.Error, OSError, ValueError) as error:
        database.close()
        if isinstance(error, LocalPlatformError):
            raise
        raise LocalPlatformError(
            f"The data directory {data} is damaged or cannot be used ({error}).\n"
            "Use another one, or remove it to begin anew."
        ) from error
