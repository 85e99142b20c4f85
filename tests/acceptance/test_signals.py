"""Signals act at any point, in the process that they are for; runs that share a stop end by it, and by no other run."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from encord.workflow.stages.agent import AgentTask
from tests import preloaded

from encord_agents.exceptions import PrintableError
from encord_agents.local import Fault
from encord_agents.tasks import QueueRunner, stop_on_signals
from encord_agents.tasks.engine.dead_letter import FAILURES_IN_A_ROW
from encord_agents.tasks.engine.events import StageStarted
from encord_agents.tasks.engine.stop import Stop

if TYPE_CHECKING:
    from tests.conftest import World

AFTER = 60.0
"""Seconds: whoever waits for so long has not heard."""


class Script:
    """A script in a process of its own, which prints what it does.

    Args:
        imported: Whether it begins with its imports done.
    """

    def __init__(
        self, world: World, directory: Path, code: str, *arguments: str, imported: bool = True, **options: Any
    ) -> None:
        path = directory / "agents.py"
        path.write_text(code, encoding="utf-8")
        clean = {name: value for name, value in os.environ.items() if not name.startswith("ENCORD_")}
        self.environment = clean | world.platform.environment() | {"TEST_PROJECT": world.project.project_hash}
        self.environment |= {"PYTHONWARNINGS": "ignore", "PYTHONUNBUFFERED": "1"} | options.pop("environment", {})
        if imported:
            options["spawning"] = True
        self.process = (preloaded.Popen if imported else subprocess.Popen)(
            [sys.executable, str(path), *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            **options,
        )
        self.printed = ""

    def read_until(self, what: str) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.printed += line
            if what in line:
                return
        pytest.fail(self.printed)

    def signal(self, number: int, *, group: bool = False) -> None:
        (os.killpg if group else os.kill)(self.process.pid, number)

    def end(self) -> int:
        """Its exit code."""
        try:
            self.printed += self.process.communicate(timeout=AFTER)[0]
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL, group=True)
            raise
        return self.process.returncode


COMMAND = """
import os, sys, time
from typing import Annotated
from encord_agents.tasks import Depends, Runner

where = os.environ["TEST_WHERE"]

def asleep(place):
    if place == where:
        try:
            print("asleep", flush=True)
            time.sleep(600)
        finally:
            print("woken", flush=True)

def first():
    yield
    print("torn down", flush=True)

def second(_: Annotated[None, Depends(first, scope="run")]):
    yield
    asleep("teardown")

runner = Runner(os.environ["TEST_PROJECT"], pre_execution_callback=lambda _: asleep("callback"))

@runner.stage("Pre-label")
def pre_label(_: Annotated[None, Depends(second, scope="run")]):
    return "complete"

runner.run()
"""


@pytest.mark.parametrize("place", ["callback", "teardown"])
def test_ctrl_c_in_the_users_own_code(world: World, tmp_path: Path, place: str) -> None:
    """Outside of attempts too: it is interrupted there, the other teardowns still run, exit code 130."""
    world.project.add_placeholders(3)
    script = Script(world, tmp_path, COMMAND, "--progress", "none", environment={"TEST_WHERE": place})
    script.read_until("asleep")
    script.signal(signal.SIGINT)
    assert script.end() == 130, script.printed
    assert "woken" in script.printed
    assert "Traceback" not in script.printed
    if place == "teardown":
        assert "torn down" in script.printed
        assert world.count("Done") == 3


def test_ctrl_c_while_it_connects(world: World, tmp_path: Path) -> None:
    """A platform that takes the connection and never answers is not waited for."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        code = COMMAND.replace('os.environ["TEST_PROJECT"], ', "")
        options = ("--project-hash", world.project.project_hash, "--progress", "none")
        environment = {"TEST_WHERE": "", "ENCORD_DOMAIN": address}
        script = Script(world, tmp_path, code, *options, environment=environment)
        connection, _ = silent.accept()
        with connection:
            assert connection.recv(1)  # it has asked, and waits
            script.signal(signal.SIGINT)
            assert script.end() == 130, script.printed


AT_WORK = """
import os, sys, time
from encord_agents.tasks import Runner

runner, calls = Runner(os.environ["TEST_PROJECT"]), []

@runner.stage("Pre-label")
def pre_label():
    calls.append(1)
    if len(calls) == 2:
        print("at work", flush=True)
        sys.stdin.readline()
    return "complete"

runner.run()
"""


@pytest.mark.parametrize("ignored", [False, True])
def test_a_hangup(world: World, tmp_path: Path, ignored: bool) -> None:
    """A terminal that is closed ends the run as SIGTERM does, exit code 129; under nohup the run goes on."""
    world.project.add_placeholders(5)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)  # which the script inherits
    try:
        script = Script(world, tmp_path, AT_WORK, "--progress", "none", stdin=subprocess.PIPE)
    finally:
        signal.signal(signal.SIGHUP, before)
    script.read_until("at work")
    script.signal(signal.SIGHUP)
    assert script.process.stdin is not None
    script.process.stdin.write("go on\n")
    script.process.stdin.flush()
    assert script.end() == (0 if ignored else 129), script.printed
    assert world.count("Done") == (5 if ignored else 2)


# As a library


RUNS = [{"task_batch_size": 1}, {}, {"max_workers": 4}]


@pytest.mark.parametrize("options", RUNS, ids=str)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_run(world: World, options: dict[str, Any], number: signal.Signals) -> None:
    """The task at work is finished, everything finished is written, and the call returns its report."""
    world.project.add_placeholders(60)
    calls, finished = itertools.count(1), list[str]()

    def agent(task: AgentTask) -> str:
        if (call := next(calls)) == 10:
            os.kill(os.getpid(), number)
        if call >= 10:
            assert stop.wait(AFTER)
        finished.append(task.data_title)
        return "complete"

    with stop_on_signals() as stop:
        report = world.agent(agent)(progress="none", stop=stop, **options)
    assert report.stopped == {signal.SIGTERM: "terminated", signal.SIGHUP: "hung up"}[number]
    assert report.moved == len(finished) == world.count("Done") < 60


@pytest.mark.parametrize("options", RUNS, ids=str)
def test_ctrl_c_ends_a_run(world: World, options: dict[str, Any]) -> None:
    """It is raised by the call, whatever it interrupted; nothing that was finished is lost."""
    world.project.add_placeholders(60)
    calls = itertools.count(1)

    def agent() -> str:
        if (call := next(calls)) == 10:
            os.kill(os.getpid(), signal.SIGINT)
        if call >= 10:
            assert stop.wait(AFTER)  # in the main thread it is interrupted
        return "complete"

    runner = world.agent(agent)
    with stop_on_signals() as stop, pytest.raises(KeyboardInterrupt):
        runner(progress="none", stop=stop, **options)
    assert runner.report is not None
    assert (runner.report.stopped, stop.exit_code) == ("interrupted", 130)
    assert 9 <= runner.report.moved == world.count("Done") < 60


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_drain(world: World, number: signal.Signals) -> None:
    """The same over an executor: no batch is begun any more, what was finished is written and in the report."""
    world.project.add_placeholders(60)
    runner = QueueRunner(world.project.project_hash, user_client=world.client)
    calls, finished = itertools.count(1), list[str]()

    @runner.stage("Pre-label")
    def agent(task: AgentTask) -> str:
        if (call := next(calls)) == 10:
            os.kill(os.getpid(), number)
        if call >= 10:
            assert stop.wait(AFTER)
        finished.append(task.data_title)
        return "complete"

    raised = pytest.raises(KeyboardInterrupt) if number == signal.SIGINT else contextlib.nullcontext()
    with stop_on_signals() as stop, ThreadPoolExecutor(2) as pool, raised:
        runner.drain(executor=pool, batch_size=3, progress="none", stop=stop)
    report = runner.report
    assert report is not None
    assert report.stopped == {signal.SIGTERM: "terminated", signal.SIGINT: "interrupted"}[number]
    assert report.moved == world.count("Done") == len(finished) < 60
    assert runner._connection is None


def test_run_stage_is_stopped_too(world: World) -> None:
    """It takes a stop as the others do."""
    world.project.add_placeholders(60)
    stop = Stop()
    runner = world.agent(lambda: stop.request() or "complete")  # type: ignore[func-returns-value]
    report = runner.run_stage("Pre-label", task_batch_size=1, stop=stop)
    assert (report.moved, report.stopped) == (1, "asked to stop")


@pytest.mark.parametrize("window", [1, 300])
@pytest.mark.parametrize("reason", ["interrupt", "terminate"])
def test_a_stop_while_a_stage_cannot_be_read(world: World, window: int, reason: Any) -> None:
    """Nobody waits for a platform whose answer is not needed any more."""
    world.project.add_placeholders(3)
    stop = Stop()
    runner = world.agent(lambda: "complete")
    world.platform.faults.add(Fault("tasks", status=503, times=None))
    runner.observers.append(lambda event: requester.start() if isinstance(event, StageStarted) else None)

    def request() -> None:
        while not world.requests("tasks"):
            pass
        stop.request(reason)

    requester = threading.Thread(target=request)
    with pytest.raises(KeyboardInterrupt) if reason == "interrupt" else contextlib.nullcontext():
        runner(progress="none", task_batch_size=window, stop=stop, max_outage=1e6)
    assert runner.report is not None
    assert runner.report.stopped == {"interrupt": "interrupted", "terminate": "terminated"}[reason]


def test_a_run_that_halts_itself_stops_no_other(world: World) -> None:
    """Twenty failures in a row end their own run; another one at the same time, with the same stop, goes on to its end;
    and the stop is still there to end both."""
    world.project.add_placeholders(60)
    stop, halted = Stop(), threading.Event()
    world.project.move(world.project.tasks("Pre-label")[0].uuid, "Triage")

    def fails(task: AgentTask) -> str:
        if world.project.moves(str(task.uuid)):
            return "complete"
        raise ValueError("a bug")

    def waits() -> str:
        assert halted.wait(AFTER)
        return "ok"

    broken = world.agent(fails, failure_pathway="review")
    good = world.agent(waits, stage="Triage")
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(lambda: good(progress="none", stop=stop))
        report = broken(progress="none", num_retries=0, stop=stop)
        halted.set()
        assert other.result(AFTER).moved == 1
    assert other.result().stopped is None
    assert f"{FAILURES_IN_A_ROW} tasks" in (report.stopped or "")
    assert (stop.requested, stop.reason) == (False, None)


def test_signals_need_the_main_thread(world: World) -> None:
    """Elsewhere a run is given a stop; the error says so."""
    with ThreadPoolExecutor(1) as pool, pytest.raises(PrintableError, match="main thread"):
        pool.submit(stop_on_signals().__enter__).result()


# Children of agents


FORKS = """
import multiprocessing, os, subprocess, sys, threading, time
from encord.workflow.stages.agent import AgentTask
from encord_agents.tasks import QueueRunner, Runner

kind = os.environ["TEST_KIND"]
context = multiprocessing.get_context("fork")
runner = (QueueRunner if kind == "drain" else Runner)(os.environ["TEST_PROJECT"])

def shout(text):
    return text.upper()

def sleep(pipe):
    pipe.send("asleep")
    time.sleep(600)

def load(wanted, loaded):
    while (number := wanted.get()) is not None:
        loaded.put(number * 2)

def pool():
    with context.Pool(2) as pool:
        assert pool.map(shout, "ab") == ["A", "B"]

def terminated():
    ours, its = context.Pipe()
    child = context.Process(target=sleep, args=(its,))
    child.start()
    assert ours.recv() == "asleep"
    child.terminate()
    child.join()
    assert child.exitcode == -15, child.exitcode

def loader():  # as DataLoader: workers with queues, terminated and waited for at the end
    wanted, loaded = context.Queue(), context.Queue()
    workers = [context.Process(target=load, args=(wanted, loaded), daemon=True) for _ in range(2)]
    for worker in workers:
        worker.start()
    for number in range(4):
        wanted.put(number)
    assert sorted(loaded.get() for _ in range(4)) == [0, 2, 4, 6]
    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.join()

def program():
    code = "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "True\\n"

@runner.stage("Pre-label")
def pre_label(task: AgentTask) -> str:
    {"0": pool, "1": terminated, "2": loader, "3": program}[task.data_title]()
    return "complete"

if __name__ == "__main__":
    if kind == "command":
        runner.run()
    print(runner.drain(workers=1, progress="none") if kind == "drain" else runner(progress="none"))
"""


@pytest.mark.parametrize("kind", ["command", "function", "drain"])
def test_agents_with_children(world: World, tmp_path: Path, kind: str) -> None:
    """Children that an agent forks are ended by SIGTERM as everywhere: pools, processes, loaders of data; programs that
    it starts hear a Ctrl-C."""
    world.project.add_placeholders(4, title="{index}")
    options = ("--progress", "none") if kind == "command" else ()
    script = Script(world, tmp_path, FORKS, *options, environment={"TEST_KIND": kind})
    assert script.end() == 0, script.printed
    assert world.count("Done") == 4, script.printed


EARLY = """
import multiprocessing, os, signal

number = None

def raise_signal():
    if number is not None:
        os.kill(os.getpid(), number)

os.register_at_fork(after_in_child=raise_signal)  # before those of the library, which are imported now

from encord.workflow.stages.agent import AgentTask
from encord_agents.tasks import QueueRunner, Runner

kind = os.environ["TEST_KIND"]
runner = (QueueRunner if kind == "drain" else Runner)(os.environ["TEST_PROJECT"])

@runner.stage("Pre-label")
def pre_label(task: AgentTask) -> str:
    global number
    number = int(task.data_title)
    child = multiprocessing.get_context("fork").Process(target=signal.pause)
    child.start()
    child.join(60)
    number = None
    assert child.exitcode == -int(task.data_title), child.exitcode
    return "complete"

if __name__ == "__main__":
    if kind == "command":
        runner.run()
    print(runner.drain(workers=1, progress="none") if kind == "drain" else runner(progress="none"))
"""


@pytest.mark.parametrize("kind", ["command", "drain"])
def test_children_ended_as_they_begin(world: World, tmp_path: Path, kind: str) -> None:
    """A signal that reaches a forked child before any of its code has run ends it: pools rely on it."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        world.project.add_placeholders(1, title=str(int(number)))
    options = ("--progress", "none") if kind == "command" else ()
    script = Script(world, tmp_path, EARLY, *options, imported=False, environment={"TEST_KIND": kind})
    assert script.end() == 0, script.printed
    assert world.count("Done") == 2, script.printed


COMPUTES = """
import multiprocessing, os
from encord_agents.tasks import Runner

runner = Runner(os.environ["TEST_PROJECT"])

def compute():
    print("computing", flush=True)
    while True:
        pass

@runner.stage("Pre-label")
def pre_label():
    child = multiprocessing.get_context("fork").Process(target=compute)
    child.start()
    child.join()
    assert child.exitcode == -15
    return "complete"

runner.run()
"""


def test_sigterm_to_the_whole_group(world: World, tmp_path: Path) -> None:
    """As service managers send it: a child that computes is ended, the agent goes on, and its task is written."""
    world.project.add_placeholders(3)
    script = Script(world, tmp_path, COMPUTES, "--progress", "none")
    script.read_until("computing")
    script.signal(signal.SIGTERM, group=True)
    assert script.end() == 143, script.printed
    assert world.count("Done") == 1
