"""The platform: its state, server, key and settings, and the faults that a test injects."""

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
    """The options that cannot be changed once the platform is created."""

    port: int = Field(ge=0, le=65535)
    url_lifetime: Number
    journal_body: int = Field(ge=0)
    controls: bool


class _NewProject(Options):
    """Those options of a new project that are plain values."""

    title: str
    description: str
    project_type: Literal["workflow", "manual_qa"]


class LocalPlatform:
    """An Encord-compatible platform on this machine. Entering it starts the server; the state exists before that.

    Args:
        data: The directory that keeps the state; ``None`` keeps it in memory.
        port: 0 takes a free port. The server only listens on 127.0.0.1.
        page_size: Tasks per page.
        page_tokens: ``keyset`` tokens stay valid when tasks are moved between two pages; ``offset`` tokens skip some.
        shuffle: Return lists in a different order from the requested one.
        latency: Seconds before each answer to an API request.
        latency_per_item: Further seconds for each row, task or item in it.
        asset_latency: Seconds before a file is served; ``None``: as ``latency``.
        url_lifetime: Seconds until signed URLs expire; with a negative number they have expired when they are made.
        controls: Also serve ``/local-platform/``: faults, settings, journal and clock over HTTP, without signatures.
        journal_body: How many bytes of each request's body the journal keeps.

    Raises:
        LocalPlatformError: An option is not valid, the port is taken, or the directory holds something else.
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
        # Options are validated before anything is created, in memory or on disk.
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
        """The addresses that are notified of tasks in agent stages, while the platform is running."""
        self._server: Server | None = None
        self._door: Door | None = None
        self._notifier: Notifier | None = None

    def start(self) -> None:
        """Start the server. Returns once it answers requests.

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
        """Stop the server, aborting requests in flight, and release the state."""
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
        """Return the environment variables that make agents use this platform."""
        return {"ENCORD_DOMAIN": self.domain, "ENCORD_SSH_KEY": self.ssh_key}

    def client(self, *, retries: bool = True) -> EncordUserClient:
        """Return an SDK client for this platform. With ``retries=False`` it fails on the first error, within 30 s."""
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
        """Create a project.

        Args:
            ontology: Default: ``Person`` boxes, a ``Scene`` radio.
            images: Picture files, or a directory, to begin with, as for ``LocalProject.add_images``.
            files: Files of every kind, or a directory, as for ``LocalProject.add_files``. Default: no data yet.
            groups: Make an image group or sequence of the pictures of each directory.
            progress: Called with the number of files read so far.

        Raises:
            WorkflowError: The workflow is not valid.
            LocalPlatformError: Another option is not valid, or no file is usable. No project is created.
        """
        _NewProject(title=readable(title), description=description, project_type=project_type)
        resolved, editor = Workflow.of(workflow), ontologies.editor(ontology)
        if images is not None and files is not None:
            raise LocalPlatformError("images, files: give one of the two.")
        found, assets = collecting.Collected([], [], []), self._service.assets
        wanted = collecting.FILES if images is None else collecting.PICTURES
        if (given := files if images is None else images) is not None:
            found = collecting.collect(given, assets, wanted=wanted, groups=groups, some=True, progress=progress)
        with self._service.database.write():  # either the project and its data are created, or neither
            record = self._service.catalogue.create(
                title=readable(title), description=description, type=project_type, workflow=resolved, editor=editor
            )
            collecting.add(self._service.database, record, found)
        project = LocalProject(self._service, record)
        project.skipped = found.skipped
        return project

    def add_workflow_template(
        self, workflow: Workflow | Mapping[str, Any] | str | Path, *, title: str = "Template"
    ) -> str:
        """Create a workflow template. Return its uuid, for ``client.create_project(workflow_template_hash=...)``.

        Raises:
            WorkflowError: The workflow is not valid.
        """
        return self._service.catalogue.add_template(readable(title), Workflow.of(workflow))

    def add_user(self, email: str) -> str:
        """Generate a key for a user and return the private key. The SDK's ``project.add_users`` gives the user roles.

        Raises:
            LocalPlatformError: The email is not valid.
        """
        if "@" not in email or len(email) > 320 or not email.isprintable():
            raise LocalPlatformError(f"{email!r} is no email.")
        key = keys.new_key()
        self._service.database.add_key(keys.key_id(key), email)
        return key

    def add_editor_agent(self, name: str, address: str, *, elsewhere: bool = False) -> None:
        """Register an editor agent, or change its address: the page has a button for it on each task and object.

        Args:
            name: The text of the button.
            address: The URL where it receives requests, for instance ``http://127.0.0.1:8080/my-agent``.
            elsewhere: Allow an address on another machine.

        Raises:
            LocalPlatformError: The name or the address cannot be used.
        """
        editor_agents.add(self._service, name, address, elsewhere=elsewhere)

    def remove_editor_agent(self, name: str) -> None:
        """Remove an editor agent.

        Raises:
            LocalPlatformError: There is no agent with this name.
        """
        editor_agents.remove(self._service, name)

    def editor_agents(self) -> dict[str, str]:
        """Return the addresses of the registered editor agents, by name."""
        return {agent.name: agent.address for agent in editor_agents.registered(self._service)}

    def project(self, project_hash: str | UUID) -> LocalProject:
        """Return a project by its hash, with or without hyphens, or by its title if it is unique."""
        record = None
        with contextlib.suppress(ValueError):
            record = self._service.catalogue.project(str(UUID(str(project_hash).strip())))
        if record is None:
            named = [found for found in self._service.catalogue.projects() if found.title == project_hash]
            record = named[0] if len(named) == 1 else None
        if record is None:
            known = "\n".join(f"  - {found.project_hash} ({found.title})" for found in self.projects())
            raise LocalPlatformError(f"There is no project {project_hash}. There are:\n{known or '  none'}")
        return LocalProject(self._service, record)

    def projects(self) -> list[LocalProject]:
        """Return all projects, oldest first."""
        return [LocalProject(self._service, record) for record in self._service.catalogue.projects()]

    @property
    def max_in_flight(self) -> int:
        """The most API requests that were ever in flight at the same time."""
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
        """Copy a project of another platform, as far as its client can read it. A further call resumes the copy.

        Args:
            client: The client of the other platform. Nothing is written there.
            stage: Only tasks of this stage, by title or uuid.
            max_tasks: The most tasks of each stage.
            with_labels: Copy the labels, too.
            with_files: Copy the files, too. Without them, items have their facts but no content.
            progress: Called with the number of tasks done, and the stage that is being read.

        Returns:
            The copy; its ``skipped`` lists the tasks that could not be copied.

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
        """Remove all projects, data, users, recorded requests, faults and outages; the address and the key stay.

        The settings get their initial values, and the clock shows the real time.
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
        """Start an outage: until ``down(False)``, connections are dropped, or (``how="503"``) every answer is a 503."""
        if self._door is not None:
            self._door.outage = how if down else None

    def check(self) -> None:
        """Raise an error if there were requests that the platform did not know, or that revealed a bug in it.

        Raises:
            UnknownRequestError: There were requests that it does not know.
        """
        if self._door is None:
            return
        if self._door.bugs:
            raise self._door.bugs[0]
        if self._door.unknown:
            raise UnknownRequestError(self._door.unknown)


def _opened(directory: Path) -> tuple[Database, AssetStore, str]:
    """Open a data directory, or create it. Return its database, its files and its key.

    Raises:
        LocalPlatformError: It cannot be opened, or holds something else.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise LocalPlatformError(f"{directory} cannot be the data directory: {error.strerror}.") from error
    key = directory / "id_ed25519"
    if key.exists():
        keys.key_in(key)  # key and database may be another program's: both are checked before either is created
    database = Database(directory / "platform.sqlite3")
    with _damage_named(directory, database):
        return database, DirectoryAssets(directory / "assets"), keys.key_in(key)


@contextlib.contextmanager
def _damage_named(data: object, database: Database) -> Iterator[None]:
    """Turn errors from a damaged data directory into a `LocalPlatformError`, and close the database."""
    try:
        yield
    except (sqlite3.Error, OSError, ValueError) as error:
        database.close()
        if isinstance(error, LocalPlatformError):
            raise
        raise LocalPlatformError(
            f"The data directory {data} is damaged or cannot be used ({error}).\n"
            "Use another one, or remove it to start afresh."
        ) from error
