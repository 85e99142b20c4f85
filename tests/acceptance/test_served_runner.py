"""An app that runs the stages that notifications name."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI
from tests.acceptance.test_notifications import SECRET, notification, post
from tests.editors import listening
from tests.waiting import PATIENCE, until

from encord_agents.fastapi import serve_runner
from encord_agents.tasks import Runner

if TYPE_CHECKING:
    from tests.conftest import World


class Counting(Runner):
    """A runner whose runs are counted, and whose agent waits to be let go."""

    def __init__(self, world: World) -> None:
        super().__init__(user_client=world.client)
        self.runs = 0
        self.begun, self.go = threading.Event(), threading.Event()

        @self.stage("Pre-label")
        def agent() -> str:
            self.begun.set()
            assert self.go.wait(PATIENCE)
            return "complete"

    def run_stage(self, *args: Any, **options: Any) -> Any:
        self.runs += 1
        self.stop = options["stop"]
        return super().run_stage(*args, **options)


def test_a_notification_is_answered_before_the_stage_is_run(world: World) -> None:
    """Those that come during a run are answered at once, and are one further run, which sees later tasks too."""
    runner = Counting(world)
    world.project.add_placeholders(1)
    with listening(serve_runner(runner, secret=SECRET)) as address:
        for number in range(4):
            assert post(f"{address}/notifications", notification(world)).status_code == 200
            assert runner.begun.wait(PATIENCE), number
        world.project.add_placeholders(2)
        runner.go.set()
        assert until(lambda: world.count("Done") == 3)
        assert until(lambda: runner.runs == 2)
    assert runner.runs == 2


def test_a_stage_that_cannot_be_run(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Its error is logged, and the next notification is served."""
    runner = Counting(world)
    runner.go.set()
    world.project.add_placeholders(1)
    with listening(serve_runner(runner, secret=SECRET, path="/in")) as address:
        triage = world.project.stage("Triage").uuid
        payload = {
            "project_hash": world.project.project_hash,
            "stage_uuid": triage,
            "pending_count": 1,
            "reason": "max_wait_elapsed",
        }
        assert post(f"{address}/in", notification(world, payload=payload)).status_code == 200
        assert post(f"{address}/in", notification(world)).status_code == 200
        assert until(lambda: world.count("Done") == 1)
    assert f"Stage {triage}" in caplog.text
    assert "No function serves stage 'Triage'" in caplog.text


def test_a_shutdown_writes_what_is_finished(world: World) -> None:
    """The server waits for the task at work and for its move; the others stay in their stage."""
    runner = Counting(world)
    world.project.add_placeholders(50)
    with listening(serve_runner(runner, secret=SECRET, task_batch_size=1)) as address:
        assert post(f"{address}/notifications", notification(world)).status_code == 200
        assert runner.begun.wait(PATIENCE)
        letting = threading.Thread(target=lambda: until(lambda: runner.stop.requested) and runner.go.set())
        letting.start()
    letting.join()
    assert (world.count("Done"), world.count("Pre-label")) == (1, 49)
    assert runner.runs == 1


def test_an_agent_that_interrupts(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever ends a run, the next notification is served."""
    world.project.add_placeholders(1)
    runner, raised = Runner(user_client=world.client), []

    @runner.stage("Pre-label")
    def agent() -> str:
        if not raised:
            raised.append(True)
            raise KeyboardInterrupt
        return "complete"

    with listening(serve_runner(runner, secret=SECRET)) as address:
        assert post(f"{address}/notifications", notification(world)).status_code == 200
        assert until(lambda: "could not be run" in caplog.text)
        assert post(f"{address}/notifications", notification(world)).status_code == 200
        assert until(lambda: world.count("Done") == 1)


def test_an_app_that_is_not_started(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A notification that nobody would act on is not acknowledged: mounted apps are not started by Starlette."""
    runner, outer = Counting(world), FastAPI()
    outer.mount("/in", serve_runner(runner, secret=SECRET))
    with listening(outer) as address:
        answer = post(f"{address}/in/notifications", notification(world))
    assert (answer.status_code, "by itself" in answer.json()["message"]) == (503, True)
    assert "by itself" in caplog.text
    assert runner.runs == 0


def test_strangers_start_nothing(world: World) -> None:
    """A request that is not signed with the secret runs no stage."""
    runner = Counting(world)
    with listening(serve_runner(runner, secret=SECRET)) as address:
        assert post(f"{address}/notifications", notification(world), "another").status_code == 401
    assert runner.runs == 0
