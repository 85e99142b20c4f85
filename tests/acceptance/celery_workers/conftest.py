"""Brokers and workers, as processes of their own."""

from __future__ import annotations

import contextlib
import itertools
import os
import runpy
import shutil
import signal
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from tests import preloaded
from tests.brokers import PATIENCE, RABBITMQ, Broker, RabbitMQ, running, until

from encord_agents.integrations.celery import enqueue, status

if TYPE_CHECKING:
    from tests.conftest import World

HERE = Path(__file__).parent


@contextlib.contextmanager
def patched(environment: dict[str, str]) -> Iterator[None]:
    """The environment of the workers, in this process."""
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(scope="session")
def rabbitmq_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A RabbitMQ for the tests of this process."""
    if not RABBITMQ.exists() or shutil.which("epmd") is None:
        pytest.skip("RabbitMQ is not installed (Debian's package: rabbitmq-server)")
    yield from running(RabbitMQ, tmp_path_factory.mktemp("rabbitmq"))


@pytest.fixture(params=["redis", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> Broker:
    """Each broker in turn, without messages."""
    server: Broker = request.getfixturevalue(f"{request.param}_server")
    server.clear()
    return server


@dataclass
class Call:
    """One time that the agent was called."""

    task: str
    pid: int
    began: float
    ended: float | None = None


@dataclass
class Site:
    """A world, a broker, and workers over it."""

    world: World
    broker: Broker
    folder: Path
    settings: dict[str, str] = field(default_factory=dict)
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _app: Celery | None = None

    @property
    def environment(self) -> dict[str, str]:
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("ENCORD_")},
            **self.world.platform.environment(),
            "AGENTS_LOG": str(self.folder / "calls.log"),
            "AGENTS_PROJECT": self.world.project.project_hash,
            "AGENTS_BROKER": self.broker.url,
            "PYTHONPATH": os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]),
            **self.settings,
        }

    def start(self, *options: str, workers: int = 1, concurrency: int = 2) -> None:
        """Start workers, and wait until they take messages."""
        for _ in range(workers):
            name = f"w{len(self.workers)}"
            log = self.folder / f"{name}.log"
            with open(log, "ab") as out:
                self.workers.append(
                    preloaded.Popen(
                        [
                            *(sys.executable, "-m", "celery", "-A", "agents", "worker", "--loglevel", "info"),
                            *("--concurrency", str(concurrency), "--hostname", f"{name}@localhost"),
                            *("--without-gossip", "--without-mingle", *options),
                        ],
                        cwd=self.folder,
                        env=self.environment,
                        stdout=out,
                        stderr=subprocess.STDOUT,
                        start_new_session=True,
                    )
                )
        for number in range(len(self.workers)):
            assert until(lambda number=number: " ready." in self.log(number)), self.log(number)

    def stop(self) -> list[int]:
        """Warm shutdown; the exit codes."""
        for worker in self.workers:
            worker.terminate()
        return [worker.wait(PATIENCE) for worker in self.workers]

    def kill(self) -> None:
        """All workers and their children at once, without a word."""
        for worker in self.workers:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)
            worker.wait(PATIENCE)

    def log(self, number: int = 0) -> str:
        return (self.folder / f"w{number}.log").read_text(encoding="utf-8")

    @property
    def app(self) -> Celery:
        """The app of the workers, in this process."""
        if self._app is None:
            with patched(self.environment):
                self._app = runpy.run_path(str(HERE / "agents.py"), run_name="agents")["app"]
        return self._app

    def enqueue(self, **options: Any) -> int:
        """Send what waits. How many were sent."""
        with patched(self.environment):
            return enqueue(self.app, **options)

    def numbers(self) -> tuple[int, int, int, int]:
        """The status of Pre-label: waiting, in flight, done, failed."""
        with patched(self.environment):
            (found,) = status(self.app)
        return found.waiting, found.in_flight, found.done, found.failed

    def command(self, *words: str) -> str:
        """What ``encord-agents celery ...`` prints."""
        done = preloaded.run(
            [sys.executable, "-m", "encord_agents.cli.main", "celery", words[0], "agents:app", *words[1:]],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def notes(self) -> list[list[str]]:
        path = self.folder / "calls.log"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def count(self, what: str) -> int:
        return sum(note[2] == what for note in self.notes())

    def calls(self) -> list[Call]:
        """The calls of the agent, in order of their beginning. One that was killed has no end."""
        going: dict[tuple[int, str], Call] = {}
        found = []
        for at, pid, what, task in self.notes():
            key = int(pid), task
            if what == "begin":
                found.append(Call(task, key[0], float(at)))
                going[key] = found[-1]
            elif what == "end":
                going.pop(key).ended = float(at)
        return found

    def check_all_moved(self, number: int) -> None:
        """Each task was moved exactly once, with the label that its agent returned, and never run twice at a time."""
        __tracebackhide__ = True
        project = self.world.project
        assert self.world.count("Done") == number
        moves = Counter(project.moves(task.uuid) for task in project.tasks("Done"))
        assert moves == {1: number}
        self.check_never_twice_at_a_time()

    def check_never_twice_at_a_time(self) -> None:
        __tracebackhide__ = True
        per_task = defaultdict(list)
        for call in self.calls():
            per_task[call.task].append(call)
        for calls in per_task.values():
            for call, following in itertools.pairwise(calls):
                if call.ended is not None:
                    assert following.began >= call.ended, (call, following)


@pytest.fixture
def site(world: World, broker: Broker, tmp_path: Path) -> Iterator[Site]:
    """An empty project, and a broker without messages."""
    found = Site(world, broker, tmp_path)
    yield found
    for worker in found.workers:
        if worker.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[Any]:
    """Where a test failed, what the workers said helps."""
    report = yield
    site = getattr(item, "funcargs", {}).get("site")
    if report.failed and isinstance(site, Site):
        for number in range(len(site.workers)):
            report.sections.append((f"worker {number}", site.log(number)[-20_000:]))
    return report
