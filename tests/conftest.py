"""What the tests share: a small world of platform, project and client; and no skipping where that is forbidden."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from tests.thorough import examples

if TYPE_CHECKING:
    from encord import EncordUserClient
    from encord.objects import LabelRowV2
    from tests.brokers import Broker

    from encord_agents.local import LocalPlatform, LocalProject
    from encord_agents.tasks import Runner
    from encord_agents.tasks.engine.report import RunReport
    from encord_agents.tasks.runner.base import RunnerBase

FORBID_SKIPS = "ENCORD_AGENTS_FORBID_SKIPS"
"""Set where everything is installed: there, a test that is skipped is a promise that nobody looked at."""


def pytest_configure() -> None:
    """Hear the signals that a shell has its jobs in the background ignore: tests send them to this process.

    And say how much properties try that do not say so themselves, however slow the machine is.
    """
    if threading.current_thread() is threading.main_thread():
        for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
            if signal.getsignal(number) is signal.SIG_IGN:
                signal.signal(number, usual)
    settings.register_profile(
        "ours", max_examples=examples(50), deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile("ours")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect the tests without collecting garbage: imports and tests stay, and half the time went into looking."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        return (yield)
    finally:
        if enabled:
            gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests in a browser: processes take tests from each other later, and would open it in each."""
    items.sort(key=lambda item: "browser" not in item.path.parts)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_unconfigure() -> Generator[None, object, object]:
    """Collect garbage once. At the end, pytest does it five times, which takes seconds with a million objects."""
    gc.collect()
    gc.freeze()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _forbid_skipping(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _forbid_skipping(report)
    return report


def _forbid_skipping(report: pytest.TestReport | pytest.CollectReport) -> None:
    if os.environ.get(FORBID_SKIPS) and report.outcome == "skipped" and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"Skipped, though {FORBID_SKIPS} is set: {reason}"


@dataclass
class World:
    """A project with two agent stages on a platform of its own, and what a test does with it again and again.

    ``Pre-label`` -> ``review`` to Review, ``triage`` to Triage, ``complete`` to Done; ``Triage`` -> ``ok`` to Done.
    The client does not retry, so that trouble is the engine's at once.

    Attributes:
        numbers: Those of `Timing` and `Limits` that are to be others in the runners of this test.
    """

    platform: LocalPlatform
    project: LocalProject
    client: EncordUserClient
    numbers: dict[str, Any] = field(default_factory=dict)

    def runner(self, **options: Any) -> Runner:
        from encord_agents.tasks import Runner

        runner = Runner(self.project.project_hash, user_client=self.client, **options)
        self.set_numbers(runner)
        return runner

    def set_numbers(self, runner: RunnerBase) -> None:
        """Give a runner the numbers of this test."""
        from encord_agents.tasks.engine.timing import Limits, Timing

        def some(kind: type) -> dict[str, Any]:
            return {name.name: self.numbers[name.name] for name in fields(kind) if name.name in self.numbers}

        runner.timing, runner.limits = Timing(**some(Timing)), Limits(**some(Limits))

    def agent(self, function: Callable[..., Any], stage: str = "Pre-label", **options: Any) -> Runner:
        """A runner with one agent."""
        runner = self.runner()
        runner.stage(stage, **options)(function)
        return runner

    def run(self, function: Callable[..., Any], **options: Any) -> RunReport:
        """One agent's run over what waits in Pre-label."""
        return self.agent(function)(progress="none", **options)

    def titles(self, stage: str) -> list[str]:
        """The data titles of the tasks in a stage, oldest first."""
        return [task.data_title for task in self.project.tasks(stage)]

    def count(self, stage: str) -> int:
        return self.project.stage(stage).tasks

    def task_of(self, data_hash: str) -> str:
        """The uuid of a data unit's first task."""
        return next(task.uuid for task in self.project.tasks() if task.data_hash == data_hash)

    def requests(self, *kinds: str) -> list[str]:
        """The kinds of the requests that were made, in order; of these kinds only, if any are given."""
        return [entry.kind for entry in self.platform.journal if not kinds or entry.kind in kinds]

    @staticmethod
    def mark(row: LabelRowV2, x: float = 0.25) -> None:
        """Put a box on a label row, with its left edge at ``x``."""
        from encord.objects.coordinates import BoundingBoxCoordinates

        instance = row.ontology_structure.objects[0].create_instance()
        instance.set_for_frames(BoundingBoxCoordinates(height=0.1, width=0.2, top_left_x=x, top_left_y=0.4), 0)
        row.add_object_instance(instance)

    def marks(self, data_hash: str, branch: str = "main") -> list[float] | None:
        """The left edges of the boxes that were saved for a data unit; ``None`` if nothing was saved."""
        label = self.project.label(data_hash, branch)
        if label is None:
            return None
        (unit,) = label["data_units"].values()
        return [found["boundingBox"]["x"] for found in unit["labels"].get("objects", [])]


@pytest.fixture(scope="session", autouse=True)
def bytecode(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Kept for the processes that tests start, which all import the same; containers often tell Python to keep none."""
    if not sys.dont_write_bytecode:
        yield
        return
    base = tmp_path_factory.getbasetemp()
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
        patch.setenv("PYTHONPYCACHEPREFIX", str(shared / "bytecode"))
        yield


@pytest.fixture(autouse=True)
def signal_handlers_as_they_were() -> Generator[None, None, None]:
    """Workers of other libraries put handlers of their own in place, and do not take them away."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def collect_garbage() -> Iterator[Callable[[], int]]:
    """Collects what the test has left behind. It does not look at the million objects that were there before."""
    gc.freeze()
    yield gc.collect
    gc.unfreeze()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A Redis for the tests of this process."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed (Debian's package: redis-server)")
    from tests.brokers import Redis, running

    yield from running(Redis, tmp_path_factory.mktemp("redis"))


@pytest.fixture
def world(local_platform: LocalPlatform) -> World:
    """An empty project on a platform in memory; a request that the platform did not understand fails the test."""
    from encord_agents.local import AgentStage, Stage, Workflow

    workflow = Workflow(
        [
            AgentStage("Pre-label", {"review": "Review", "triage": "Triage", "complete": "Done"}),
            AgentStage("Triage", {"ok": "Done"}),
            Stage("Review", "review"),
            Stage("Done", "done"),
        ]
    )
    project = local_platform.create_project(workflow=workflow)
    return World(local_platform, project, local_platform.client(retries=False))
