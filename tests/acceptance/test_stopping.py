"""Stopping is clean: no new task, what is finished is written, what could not be written is listed, nothing is left."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from encord.objects import LabelRowV2
from tests import preloaded
from tests.drivers import RUNNERS, ByRunner, ByThreads, Driver
from tests.interrupts import exiting_on_sigterm
from tests.waiting import PATIENCE, until

from encord_agents.core.assets import Asset
from encord_agents.local import Fault
from encord_agents.tasks import QueueRunner
from encord_agents.tasks.engine.stop import Stop
from encord_agents.tasks.models import TaskAgentReturnStruct

if TYPE_CHECKING:
    from tests.conftest import World

SCRIPT = """
import os, signal, time
from encord.objects import LabelRowV2
from encord_agents.tasks import Runner
from encord_agents.tasks.models import TaskAgentReturnStruct

runner = Runner(os.environ["TEST_PROJECT"])
calls = 0

@runner.stage("Pre-label")
def pre_label(label_row: LabelRowV2) -> TaskAgentReturnStruct:
    global calls
    calls += 1
    if calls == 20:
        handler = signal.getsignal(signal.SIGTERM)
        signal.signal(signal.SIGTERM, lambda *args: (handler(*args), print("terminated", flush=True)))
        try:
            print("asleep", flush=True)
            while not os.path.exists(os.environ["TEST_AWAKE"]):
                time.sleep(0.01)
        finally:
            print("awake", flush=True)
    return TaskAgentReturnStruct(pathway="complete", label_row=label_row, label_row_priority=0.5)

if __name__ == "__main__":
    runner.run()
"""


class Command:
    """A runner's command line, in the middle of a run: its 20th call of the agent sleeps until it is woken."""

    def __init__(self, world: World, directory: Path) -> None:
        self._awake = directory / "awake"
        script = directory / "agents.py"
        script.write_text(SCRIPT)
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ENCORD_")},
            **world.platform.environment(),
            "TEST_PROJECT": world.project.project_hash,
            "TEST_AWAKE": str(self._awake),
            "PYTHONWARNINGS": "ignore",
        }
        self.process = preloaded.Popen(
            [sys.executable, str(script), "--progress", "none"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.await_line("asleep")

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def await_line(self, expected: str) -> None:
        """Read what is printed until there is that line."""
        assert self.process.stdout is not None
        seen = []
        for line in self.process.stdout:
            if line.strip() == expected:
                return
            seen.append(line)
        pytest.fail("".join(seen))

    def wake(self) -> None:
        """Let the agent go on."""
        self._awake.touch()

    def end(self) -> tuple[int, str]:
        """Return the exit code, and what was printed."""
        output, _ = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, output


def test_ctrl_c_interrupts_the_agent(world: World, tmp_path: Path) -> None:
    """The agent is interrupted at once, what was finished is written, the table is printed; exit code 130."""
    world.project.add_placeholders(60)
    command = Command(world, tmp_path)
    command.signal(signal.SIGINT)
    code, output = command.end()
    assert code == 130, output
    assert "awake" in output
    assert world.count("Done") == 19
    assert "Pre-label" in output
    assert "19" in output
    assert "Traceback" not in output


def test_sigterm_lets_the_current_task_finish(world: World, tmp_path: Path) -> None:
    """The task that runs is finished and written; no other is taken; exit code 143."""
    world.project.add_placeholders(60)
    command = Command(world, tmp_path)
    command.signal(signal.SIGTERM)
    command.wake()
    code, output = command.end()
    assert code == 143, output
    assert world.count("Done") == 20
    assert "Pre-label" in output


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_the_second_signal_leaves_at_once(world: World, tmp_path: Path, second: signal.Signals) -> None:
    """The process ends at once, whatever it is doing."""
    world.project.add_placeholders(60)
    command = Command(world, tmp_path)
    command.signal(signal.SIGTERM)
    command.await_line("terminated")
    command.signal(second)
    code, output = command.end()
    assert code == (130 if second == signal.SIGINT else 143), output
    assert world.count("Pre-label") >= 40


# As a library


@pytest.fixture
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No thread and no file is left behind."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # others' tests leave theirs elsewhere
    threads, files = set(threading.enumerate()), _files()
    yield
    until(lambda: set(threading.enumerate()) <= threads)
    assert set(threading.enumerate()) - threads == set()
    assert _files() <= files


def _files() -> set[str]:
    return {name for name in os.listdir(tempfile.gettempdir()) if name.startswith("encord-agents")}


def label(label_row: LabelRowV2) -> TaskAgentReturnStruct:
    return TaskAgentReturnStruct(pathway="complete", label_row=label_row)


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize("window", [1, 10, 300])
def test_an_interrupt_is_raised_again(world: World, window: int) -> None:
    """Everything that was finished is written first, and is in the report."""
    world.project.add_placeholders(60)
    calls = iter(range(1000))

    def agent(label_row: LabelRowV2, asset: Asset) -> TaskAgentReturnStruct:
        assert asset.path().exists()
        if next(calls) == 30:
            raise KeyboardInterrupt
        return label(label_row)

    runner = world.agent(agent)
    with pytest.raises(KeyboardInterrupt):
        runner(progress="none", task_batch_size=window)
    assert runner.report is not None
    assert (runner.report.moved, runner.report.stopped) == (30, "interrupted")
    assert runner.report.unwritten == ()
    assert world.count("Done") == 30


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize("window", [1, 300])
def test_an_interrupt_while_the_platform_is_down(world: World, window: int) -> None:
    """Writing is tried for so long and no longer; what could not be written is listed, and is still in its stage."""
    world.numbers |= {"time_to_write": 1.0, "first_backoff": 0.02}
    world.project.add_placeholders(60)
    finished: list[str] = []

    def agent(label_row: LabelRowV2) -> TaskAgentReturnStruct:
        if len(finished) == 20:
            world.platform.down()
            threading.Timer(0.3, lambda: signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)).start()
            if window > 1:
                threading.Event().wait(3600)
        finished.append(label_row.data_hash)
        return label(label_row)

    runner = world.agent(agent)
    with pytest.raises(KeyboardInterrupt):
        runner(progress="none", task_batch_size=window)
    world.platform.down(False)
    report = runner.report
    assert report is not None
    unwritten = {str(task.data_hash) for task in report.unwritten}
    assert len(unwritten) == len(report.unwritten) > 0
    assert unwritten <= {task.data_hash for task in world.project.tasks("Pre-label")}
    assert unwritten | {task.data_hash for task in world.project.tasks("Done")} == set(finished)
    assert report.moved == world.count("Done")


@pytest.mark.usefixtures("clean")
def test_workers_finish(world: World) -> None:
    """Attempts that run in threads end by themselves when the run is stopped, and what they return is written."""
    world.project.add_placeholders(60)
    stop = Stop()
    started = threading.Barrier(4, action=stop.request)

    def agent(label_row: LabelRowV2) -> TaskAgentReturnStruct:
        started.wait(PATIENCE)
        time.sleep(0.2)
        return label(label_row)

    runner = world.agent(agent)
    report = runner(progress="none", max_workers=4, stop=stop)
    assert (report.moved, report.stopped) == (4, "asked to stop")
    assert world.count("Done") == 4


@pytest.mark.usefixtures("clean")
def test_coroutines_are_cancelled(world: World) -> None:
    """Attempts on the event loop are cancelled where they wait, torn down, and have no outcome."""
    world.project.add_placeholders(60)
    stop = Stop()
    events: list[str] = []
    running = 0

    async def agent(label_row: LabelRowV2) -> TaskAgentReturnStruct:
        nonlocal running
        running += 1
        if running == 5:
            asyncio.get_running_loop().call_later(0.1, stop.request)
        try:
            await asyncio.sleep(0.0 if running == 1 else 3600)
        except asyncio.CancelledError:
            events.append("cancelled")
            raise
        return label(label_row)

    runner = world.agent(agent)
    report = runner(progress="none", max_workers=4, stop=stop)
    assert events == ["cancelled"] * 4
    assert (report.moved, report.failed) == (1, 0)
    assert world.count("Done") == 1


@pytest.mark.usefixtures("clean")
def test_nothing_is_left_after_a_good_run(world: World) -> None:
    """Neither threads nor files."""
    world.project.add_placeholders(60)

    def agent(asset: Asset) -> str:
        assert asset.path().exists()
        return "complete"

    assert world.run(agent, max_workers=3).moved == 60


@pytest.mark.usefixtures("clean")
def test_a_stop_ends_the_wait_for_the_next_pass(world: World) -> None:
    """A run that polls ends as soon as it is told to."""
    stop = Stop()
    runner = world.agent(lambda: "complete")
    threading.Timer(0.3, stop.request).start()
    report = runner(refresh_every=3600, progress="none", stop=stop)
    assert report.stopped is not None


def test_set_up_errors_leave_nothing(world: World, clean: Any) -> None:
    """A run that ends in an error leaves no threads either."""
    world.project.add_placeholders(40)
    runner = world.agent(lambda: "nowhere")
    with pytest.raises(ValueError, match="nowhere"):
        runner(progress="none", num_retries=0)


# A program's own signal handlers


class TooLong(Exception):  # noqa: N818
    """A watchdog's exception."""


def bark(*_: object) -> NoReturn:
    raise TooLong("the night is over")


@pytest.fixture
def watchdog() -> Iterator[None]:
    """A signal handler that raises; not SIGALRM's, which limits the time of tests."""
    before = signal.signal(signal.SIGUSR1, bark)
    yield
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize("driver", RUNNERS, ids=str)
@pytest.mark.parametrize("retries", [0, 3])
def test_a_program_that_exits_on_sigterm(world: World, driver: Driver, retries: int) -> None:
    """The run ends with its exception: what was finished is written, and the task that was hit has no outcome."""
    hashes = world.project.add_placeholders(8)
    ended = threading.Event()
    calls: list[str] = []
    here: list[str] = []

    def agent(label_row: LabelRowV2) -> TaskAgentReturnStruct:
        calls.append(label_row.data_hash)
        if len(calls) == 3:
            if threading.current_thread() is threading.main_thread():
                here.append(label_row.data_hash)
            os.kill(os.getpid(), signal.SIGTERM)
            assert not ended.wait(PATIENCE if here else 0.5)  # in the main thread, it is raised here
        return label(label_row)

    with exiting_on_sigterm(), pytest.raises(SystemExit) as raised:
        driver.run(world, agent, num_retries=retries, failure_pathway="triage")
    assert raised.value.code == 143
    assert world.count("Triage") == 0
    assert 2 <= world.count("Done") <= len(calls)
    if here:  # elsewhere others may be attempted until the main thread has its turn
        assert len(calls) < len(hashes)


@pytest.mark.usefixtures("clean")
def test_an_agent_that_exits(world: World) -> None:
    """Its own ``sys.exit()`` stays the fault of its task, even if the program exits on SIGTERM."""
    first, *_ = world.project.add_placeholders(3)

    def agent(label_row: LabelRowV2) -> str:
        if label_row.data_hash == first:
            sys.exit(3)
        return "complete"

    with exiting_on_sigterm():
        report = world.run(agent, num_retries=0)
    assert (report.moved, report.failed) == (2, 1)


@contextmanager
def alarm_at_first_save(world: World) -> Iterator[None]:
    """Send the signal while the platform is slow to save the first labels."""
    world.platform.faults.add(Fault("save", action="stall", seconds=1.0))
    over = threading.Event()

    def send() -> None:
        assert until(lambda: over.is_set() or not world.platform.faults.pending)
        os.kill(os.getpid(), signal.SIGUSR1)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield
    finally:
        over.set()
        sender.join()


@pytest.mark.usefixtures("clean", "watchdog")
@pytest.mark.parametrize("driver", RUNNERS, ids=str)
def test_a_watchdog_while_results_are_written(world: World, driver: ByRunner) -> None:
    """Writes in flight are seen through before the watchdog's exception is raised, so that the report is true."""
    world.project.add_placeholders(6)

    async def asynchronous(label_row: LabelRowV2) -> TaskAgentReturnStruct:
        return label(label_row)

    runner = world.agent(asynchronous if driver.as_async else label)
    with pytest.raises(TooLong), alarm_at_first_save(world):
        runner(progress="none", **driver.options)
    report = runner.report
    assert report is not None
    assert report.stopped == "TooLong: the night is over"
    assert 1 <= report.moved == world.count("Done")
    assert (report.failed, report.unwritten) == (0, ())


@pytest.mark.usefixtures("watchdog")
def test_a_watchdog_while_a_drain_writes(world: World) -> None:
    """Likewise, where the workers are threads of an executor."""
    world.project.add_placeholders(6)
    runner = QueueRunner(world.project.project_hash, user_client=world.client)
    runner.stage("Pre-label")(label)
    with ThreadPoolExecutor(2) as pool, pytest.raises(TooLong), alarm_at_first_save(world):
        runner.drain(executor=pool, batch_size=3, progress="none")
    report = runner.report
    assert report is not None
    assert report.stopped == "TooLong: the night is over"
    assert 1 <= report.moved == world.count("Done")
    assert (report.failed, report.unwritten) == (0, ())


@pytest.mark.parametrize("driver", [*RUNNERS, ByThreads("drain")], ids=str)
def test_a_stop_that_ends_the_programs_of_agents(world: World, driver: Driver) -> None:
    """Nobody is to look at a task whose program a service manager has ended together with the run: it stays, even if
    the program's end is noticed first."""
    world.project.add_placeholders(4)
    world.numbers["tick"] = 2.0  # the time for which a stop may be late
    stop = Stop()
    calls = iter(range(1000))

    def agent() -> str:
        if next(calls) == 0:
            return "complete"
        time.sleep(0.5)  # until an agent that has succeeded is believed
        threading.Timer(0.1, stop.request, ("terminate",)).start()
        raise OSError("died with SIGTERM")

    driver.having(stop=stop).run(world, agent, failure_pathway="triage")
    assert world.count("Triage") == 0
