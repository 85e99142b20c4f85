"""Messages between a parent and its workers arrive as they were sent, whatever users raise."""

from __future__ import annotations

import pickle
from dataclasses import replace
from uuid import UUID

import pytest
from tests.misbehaving import EXCEPTIONS

from encord_agents.core.tracebacks import described, formatted, notes
from encord_agents.exceptions import DependencyError, UnknownPathwayError
from encord_agents.tasks.engine.events import AttemptFailed, TaskFinished, TaskRef, TaskStarted
from encord_agents.tasks.engine.history import History
from encord_agents.tasks.engine.outcome import Failed, Fault, Held, Phase
from encord_agents.tasks.runner import messages
from encord_agents.tasks.runner.messages import WorkerDiedError, WorkerError

TASK = TaskRef(UUID(int=1), UUID(int=2), "file", UUID(int=3), "Pre-label")


def raised(kind: str) -> BaseException:
    try:
        raise EXCEPTIONS[kind]()
    except BaseException as error:
        return error


def sent(event: object) -> messages.Told:
    history = History()
    history.has_named_a_pathway = True
    history.quiet.hold_back(10.0, 100.0)
    told = messages.told(event, history, 103.0)  # type: ignore[arg-type]
    arrived: messages.Told = pickle.loads(pickle.dumps(told))
    return arrived


@pytest.mark.parametrize("kind", EXCEPTIONS)
def test_failures_of_every_kind_arrive(kind: str) -> None:
    """As text, with where they were raised: only the worker may be able to import them."""
    fault = Fault(Phase.AGENT, raised(kind), 2, run_scoped=True)
    for event in (AttemptFailed(TASK, fault, 0.5), TaskFinished(TASK, Failed(fault), 2, 0.1)):
        arrived = sent(event)
        assert type(arrived.event) is type(event)
        there = arrived.event.fault if isinstance(arrived.event, AttemptFailed) else arrived.event.outcome.fault  # type: ignore[union-attr]
        assert (there.phase, there.attempt) == (Phase.AGENT, 2)
        assert isinstance(there.exception, WorkerError)
        assert str(there.exception).startswith(described(fault.exception))
        assert "in raised" in formatted(there.exception)


def test_what_may_end_the_run_arrives_as_itself() -> None:
    """The exception of a failure that may be every task's goes with its event; of other failures it does not."""
    own = Fault(Phase.INJECT, DependencyError("no weights", function="agent"), 1)
    for fault, is_suspect in (
        (own, False),
        (replace(own, run_scoped=True), True),
        (Fault(Phase.PATHWAY, UnknownPathwayError("elsewhere", "Pre-label", []), 1), True),
    ):
        suspect = sent(TaskFinished(TASK, Failed(fault), 1, 0.1)).suspect
        assert (None if suspect is None else type(suspect.error)) == (type(fault.exception) if is_suspect else None)


def test_a_service_that_wants_quiet() -> None:
    """Other workers are told for how long, when it refuses an attempt, and only then."""
    fault = Fault(Phase.AGENT, ValueError(), 1)
    assert sent(AttemptFailed(TASK, replace(fault, rate_limited=True), 0.5)).hold_back == 7.0
    assert sent(AttemptFailed(TASK, fault, 0.5)).hold_back == 0.0


@pytest.mark.parametrize("event", [TaskStarted(TASK, 1), TaskFinished(TASK, Held(), 1, 0.1)])
def test_other_events_arrive_as_they_are(event: object) -> None:
    """They are frozen records."""
    assert sent(event) == messages.Told(event, named_a_pathway=True)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", EXCEPTIONS)
def test_errors_of_every_kind_arrive(kind: str) -> None:
    """As themselves or as text, with where they were raised: what ends a run, and what may be every task's trouble."""
    there = pickle.loads(pickle.dumps(messages.Carried(raised(kind)))).error
    told = "\n".join([described(there), *notes(there)])
    assert kind in told
    assert "in raised" in told


def test_an_error_that_cannot_be_read() -> None:
    """One that only the worker can import is told in words: the run ends all the same."""
    assert "cannot be read here: ModuleNotFoundError" in str(messages._carried(b"cno_such_module\nError\n.").error)


@pytest.mark.parametrize("kind", [WorkerError, WorkerDiedError])
def test_a_workers_error_can_be_sent_on(kind: type[WorkerError]) -> None:
    """With the worker's traceback, to whatever process reads the report."""
    error = pickle.loads(pickle.dumps(kind("ValueError: bad pixels", "Traceback ...")))
    assert (type(error), str(error)) == (kind, "ValueError: bad pixels")
    assert "Traceback ..." in formatted(error)
