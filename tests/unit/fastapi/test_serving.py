"""A runner on the web without the web: which stages are run, in which order, and until when."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from encord_agents.exceptions import PrintableError
from encord_agents.fastapi import serving
from encord_agents.fastapi.serving import Stage, _Runs, _work_of, serve_runner
from encord_agents.tasks import QueueRunner, Runner
from encord_agents.tasks.engine.stop import Stop

A, B, C, LAST = ((UUID(int=1), UUID(int=number)) for number in (2, 3, 4, 5))
PATIENCE = 60


class Work:
    """Work that notes its stages and waits to be let go; the first run of some stages raises."""

    def __init__(self) -> None:
        self.stages: list[Stage] = []
        self.stops: list[Stop] = []
        self.raises: dict[Stage, BaseException] = {}
        self.begun = threading.Semaphore(0)
        self.go = threading.Event()

    def __call__(self, stage: Stage, stop: Stop) -> str:
        self.stages.append(stage)
        self.stops.append(stop)
        self.begun.release()
        assert self.go.wait(PATIENCE)
        if stage in self.raises:
            raise self.raises.pop(stage)
        return f"stage {stage[1].int} was run"

    def has_begun(self, times: int = 1) -> bool:
        return all(self.begun.acquire(timeout=PATIENCE) for _ in range(times))


@pytest.fixture
def work() -> Work:
    return Work()


@pytest.fixture
def runs(work: Work) -> Iterator[_Runs]:
    made = _Runs(work)
    made.open()
    yield made
    work.go.set()
    made.close()


def test_stages_wait_in_their_order(runs: _Runs, work: Work) -> None:
    """One that waits already keeps its place and is run once; one that is being run is run once more."""
    assert runs.add(A)
    assert work.has_begun()
    assert [runs.add(stage) for stage in (B, C, A, A, B, LAST)] == [True] * 6
    work.go.set()
    assert work.has_begun(4)
    assert work.stages == [A, B, C, A, LAST]


@pytest.mark.parametrize("error", [ValueError("no box"), SystemExit(3), KeyboardInterrupt()], ids=repr)
def test_a_run_that_fails(runs: _Runs, work: Work, caplog: pytest.LogCaptureFixture, error: BaseException) -> None:
    """Any exception of it is logged with the stage and its project, and the next stage is run."""
    work.raises[A] = error
    work.go.set()
    assert runs.add(A)
    assert runs.add(B)
    assert work.has_begun(2)
    (record,) = caplog.records
    assert record.getMessage() == f"Stage {A[1]} of project {A[0]} could not be run."
    assert record.exc_info is not None
    assert record.exc_info[1] is error


def test_a_run_is_told_in_the_log(runs: _Runs, work: Work, caplog: pytest.LogCaptureFixture) -> None:
    """The report of each run is logged, once it has ended."""
    caplog.set_level(logging.INFO, serving.logger.name)
    assert runs.add(A)
    assert work.has_begun()
    assert caplog.messages == []
    work.go.set()
    runs.close()
    assert caplog.messages == ["stage 2 was run"]


def begin_to_close(runs: _Runs, work: Work) -> threading.Thread:
    """Close them in a thread, and return that once the stage at work is told to stop."""
    closing = threading.Thread(target=runs.close)
    closing.start()
    assert work.stops[0].wait(PATIENCE)
    return closing


def test_a_shutdown(runs: _Runs, work: Work) -> None:
    """The stage at work is told to stop and waited for; those that wait are not begun, and no others are taken."""
    assert runs.add(A)
    assert runs.add(B)
    assert work.has_begun()
    closing = begin_to_close(runs, work)
    assert closing.is_alive()
    assert not runs.add(C)
    work.go.set()
    closing.join(PATIENCE)
    assert work.stages == [A]
    assert work.stops[0].requested


def test_nothing_is_taken_before_it_is_opened(work: Work) -> None:
    """A notification that nobody would act on is not accepted; closing without having opened is harmless."""
    runs = _Runs(work)
    assert not runs.add(A)
    runs.close()
    assert not runs.add(A)


def test_an_app_that_is_started_again(runs: _Runs, work: Work) -> None:
    """It runs stages anew, with a stop that nobody has asked for; the stage that was left waiting is run, too."""
    assert runs.add(A)
    assert runs.add(B)
    assert work.has_begun()
    closing = begin_to_close(runs, work)
    work.go.set()
    closing.join(PATIENCE)
    runs.open()
    assert runs.add(C)
    assert work.has_begun(2)
    assert work.stages == [A, B, C]
    assert [stop.requested for stop in work.stops] == [True, False, False]


class Noted(Runner):
    """A runner that notes the arguments of a run."""

    def run_stage(self, *args: Any, **options: Any) -> Any:
        self.given = args, options
        return "a report"


def test_options_reach_the_runner() -> None:
    """A stage is run in its project, with the stop of the server and the options as they were given."""
    runner, stop = Noted(), Stop()
    runner.stage("Pre-label")(lambda: None)
    assert _work_of(runner, {"max_tasks": 3, "progress": "none"})(A, stop) == "a report"
    assert runner.given == ((A[1],), {"project_hash": A[0], "stop": stop, "max_tasks": 3, "progress": "none"})


@pytest.fixture
def runner() -> Runner:
    made = Runner()
    made.stage("Pre-label")(lambda: "done")
    return made


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"num_retrys": 1}, "no option 'num_retrys'. Did you mean 'num_retries'?"),
        ({"max_outage": 5}, "They have: num_retries, task_batch_size, max_tasks, bundle_saves."),
        ({"stage": "Pre-label"}, "no option 'stage'"),
        ({"project_hash": A[0]}, "no option 'project_hash'"),
        ({"num_retries": "3"}, "num_retries='3' is not a whole number"),
        ({"num_retries": None}, "num_retries=None is not a whole number"),
        ({"max_tasks": 0}, "max_tasks=0 is out of range"),
        ({"path": "notifications"}, "as in '/notifications'"),
    ],
)
def test_set_up_errors_come_first(runner: Runner, options: dict[str, Any], said: str) -> None:
    """A wrong option is refused when the app is made: once it is served, notifications are answered before a run."""
    with pytest.raises(PrintableError) as caught:
        serve_runner(runner, secret="s", **options)
    assert said in str(caught.value)


def test_a_runner_without_agents() -> None:
    """It is refused, since no notification could be acted on."""
    with pytest.raises(PrintableError, match=r"no agent.*before calling serve_runner\(runner\)"):
        serve_runner(Runner(), secret="s")


def test_options_that_are_right(runner: Runner) -> None:
    """All of them are taken, and ``None`` where it is the default."""
    assert serve_runner(runner, secret="s", num_retries=0, task_batch_size=1, max_tasks=None, bundle_saves=True)


def test_a_queue_is_filled() -> None:
    """It is told the project and the stage, and how many tasks were sent is logged."""
    runner = QueueRunner(A[0])
    woken: list[Stage] = []

    def wake(project_hash: UUID, stage_uuid: UUID) -> int:
        woken.append((project_hash, stage_uuid))
        return 7

    runner.wake = wake
    assert _work_of(runner, {})(A, Stop()) == f"Stage {A[1]} of project {A[0]}: 7 task(s) sent."
    assert woken == [A]
