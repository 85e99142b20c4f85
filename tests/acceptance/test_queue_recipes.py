"""The recipes of docs/howto/queues.md do what they say, on the engines themselves."""

from __future__ import annotations

import importlib
import re
import runpy
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests import preloaded

from encord_agents.tasks.models import NO_TASK, TaskResult

if TYPE_CHECKING:
    from tests.brokers import Broker
    from tests.conftest import World

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "howto" / "queues.md"
SCRIPTS = {
    name: code
    for code in re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    for name in re.findall(r"\A# (\w+)\.py$", code, re.MULTILINE)
}
TASKS = 12
"""More than a batch."""

# What the test's agent does in the place of the page's "...": one task fails the first time, another always.
TROUBLE = """
    seen.append(label_row.data_title)
    if label_row.data_title == "always" or (label_row.data_title == "once" and seen.count("once") == 1):
        raise ValueError(label_row.data_title)
"""


@pytest.fixture
def folder(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The page's modules in the working directory, for a project in which tasks wait."""
    monkeypatch.delenv("ENCORD_SSH_KEY_FILE", raising=False)
    for name, value in world.platform.environment().items():
        monkeypatch.setenv(name, value)
    world.project.add_placeholders(TASKS - 2, title="file {index}")
    world.project.add_placeholders(1, title="once")
    world.project.add_placeholders(1, title="always")
    for name, code in SCRIPTS.items():
        code = code.replace("00000000-0000-0000-0000-000000000000", world.project.project_hash)
        code = code.replace("    ...  # put labels on label_row\n", TROUBLE)
        code = code.replace("RETRY_DELAY = 10  # seconds", "RETRY_DELAY = 0\nseen: list[str] = []")
        (tmp_path / f"{name}.py").write_text(code, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    if "agents" in sys.modules:
        sys.modules["agents"].runner.close()
    for name in SCRIPTS:
        sys.modules.pop(name, None)


def run(name: str) -> dict[str, Any]:
    """Run a script of the page in this process."""
    return runpy.run_path(f"{name}.py", run_name="__main__")


def check(world: World, *, attempts: int | None = 4) -> None:
    """All have moved but the one that always fails, which had this many attempts; the others no more than needed."""
    assert world.titles("Pre-label") == ["always"]
    assert world.count("Review") == TASKS - 1
    if attempts is not None:
        calls = Counter(sys.modules["agents"].seen)
        assert (calls.pop("always"), calls.pop("once")) == (attempts, 2)
        assert set(calls.values()) == {1}


def test_every_script_of_the_page_is_run() -> None:
    """The scripts tested here are those of the page."""
    source = Path(__file__).read_text(encoding="utf-8")
    code = re.findall(r"^```python$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(code) == len(SCRIPTS)
    assert [name for name in SCRIPTS if f'"{name}"' not in source] == []


@pytest.mark.parametrize("name", ["on_processes", "on_loky"])
def test_processes(world: World, folder: Path, name: str) -> None:
    """Worker processes import the agents; what fails is tried again, and the report says what became of all."""
    code = (folder / f"{name}.py").read_text(encoding="utf-8")
    # One process imports as well as two do, and in half the time; test_drain.py has several.
    (folder / f"{name}.py").write_text(code.replace("workers=2", "workers=1"), encoding="utf-8")
    script = preloaded.run(
        [sys.executable, f"{name}.py"], cwd=folder, capture_output=True, text=True, timeout=60, spawning=True
    )
    assert script.returncode == 0, script.stderr
    assert re.search(rf"^Pre-label +{TASKS - 1} +0 +1 ", script.stdout, re.MULTILINE), script.stdout
    check(world, attempts=None)


def test_threads(world: World, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Queue functions are functions: one attempt a call, and the answer says what became of each task."""
    run("on_threads")
    lines = capsys.readouterr().out.splitlines()
    assert Counter(line.split()[-2 if "Error" in line else -1] for line in lines) == {"moved": 10, "ValueError:": 2}
    assert sorted(world.titles("Pre-label")) == ["always", "once"]


def test_dask(world: World, folder: Path) -> None:
    """A Dask client's executor is given to drain."""
    import dask

    script = folder / "on_dask.py"
    here = (
        "Client(processes=False, n_workers=1, threads_per_worker=2, "
        "dashboard_address='127.0.0.1:0', worker_dashboard_address='127.0.0.1:0')"
    )
    script.write_text(script.read_text(encoding="utf-8").replace("Client()", here), encoding="utf-8")
    with dask.config.set({"temporary-directory": str(folder)}):
        run("on_dask")
    check(world)


@pytest.fixture
def redis_url(redis_server: Broker, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty Redis, at ``REDIS_URL``."""
    redis_server.clear()
    monkeypatch.setenv("REDIS_URL", redis_server.url)
    return redis_server.url


def test_rq(world: World, folder: Path, redis_url: str) -> None:
    """An RQ worker in burst mode does all there is, and puts what failed into its queue again."""
    import rq

    on_rq = importlib.import_module("on_rq")
    try:
        on_rq.enqueue()
        assert on_rq.queue.count == 2
        rq.SimpleWorker([on_rq.queue], connection=on_rq.queue.connection).work(burst=True, logging_level="ERROR")
        assert on_rq.queue.failed_job_registry.count == 0
    finally:
        on_rq.queue.connection.close()
    check(world)


def test_dramatiq(world: World, folder: Path) -> None:
    """Dramatiq's workers do all there is; what failed comes back as a message of its own."""
    import dramatiq
    from dramatiq.brokers.stub import StubBroker

    broker = StubBroker()
    before = dramatiq.broker.global_broker
    dramatiq.set_broker(broker)
    try:
        on_dramatiq = importlib.import_module("on_dramatiq")
        on_dramatiq.enqueue()
        worker = dramatiq.Worker(broker, worker_timeout=20, worker_threads=2)
        worker.start()
        try:
            broker.join("agents", timeout=20_000)
            worker.join()
        finally:
            worker.stop()
    finally:
        broker.close()
        dramatiq.set_broker(before)  # type: ignore[arg-type]
    assert on_dramatiq.runner._connection is None, "the worker's end closes the runner"
    check(world)


def test_huey(world: World, folder: Path) -> None:
    """Huey's queue and schedule hold what is to be done, until nothing is."""
    on_huey = importlib.import_module("on_huey")
    huey = on_huey.huey
    try:
        on_huey.enqueue()
        assert huey.pending_count() == 2
        while huey.pending_count() or huey.scheduled_count():
            for task in [*huey.read_schedule(), *filter(None, [huey.dequeue()])]:
                huey.execute(task)
        huey.storage.close()
    finally:
        on_huey.close()
    check(world)


def test_my_own(world: World, folder: Path) -> None:
    """The recipe for any other engine: one thread and a queue do what the others do."""
    run("my_own")
    check(world)


def test_the_modal_example(world: World, folder: Path) -> None:
    """The example for Modal imports without an account; its rounds, with the container's code run here, do their work.

    A batch whose container is lost is sent again.
    """
    code = (ROOT / "examples" / "modal_agents.py").read_text(encoding="utf-8")
    code = code.replace("00000000-0000-0000-0000-000000000000", world.project.project_hash)
    (folder / "modal_agents.py").write_text(code.replace("BATCH_SIZE = 20", "BATCH_SIZE = 10"), encoding="utf-8")
    sent: list[tuple[int, bool]] = []

    def here(batches: list[list[str]], final: bool) -> Iterator[str | Exception]:
        for batch in batches:
            sent.append((len(batch), final))
            yield ConnectionError("lost") if len(sent) == 1 else modal_agents.PreLabel().run.local(batch, final)

    modal_agents: Any = importlib.import_module("modal_agents")
    try:
        (stage,) = modal_agents.runner.get_agent_stages()
        specs = [task.model_dump_json() for task in stage.get_tasks()]
        missing = TaskResult(task_uuid=NO_TASK, outcome="failed")
        results = modal_agents.work([*specs, missing.model_dump_json()], here)
    finally:
        modal_agents.runner.close()
        del sys.modules["modal_agents"]
    assert Counter(result.outcome for result in results) == {"moved": TASKS, "failed": 1}
    assert sent == [(10, False), (3, False), (10, False)]
    assert world.count("Review") == TASKS


def test_the_modal_image_has_what_it_installs(folder: Path) -> None:
    """The files copied into the image are enough to install the package, and no more than that."""
    modal_agents: Any = runpy.run_path(str(ROOT / "examples" / "modal_agents.py"))
    wanted = modal_agents["WHAT_PIP_NEEDS"]
    assert all(
        wanted(Path(name)) for name in ("pyproject.toml", "README.md", "LICENSE", "src/encord_agents/__init__.py")
    )
    assert wanted(Path("src/encord_agents/tasks/runner/queue_runner.py"))
    assert not any(wanted(Path(name)) for name in (".venv/bin/python", ".git/config", "tests/conftest.py"))
