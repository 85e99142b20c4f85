"""Messages between a parent and its workers arrive as they were sent, whatever users raise."""

from __future__ import annotations

import pickle
from uuid import UUID

import pytest
from tests.misbehaving import EXCEPTIONS

from encord_agents.core.tracebacks import described, formatted, notes
from encord_agents.exceptions import DependencyError
from encord_agents.tasks.engine.events import AttemptFailed, TaskFinished, TaskRef, TaskStarted
from encord_agents.tasks.engine.outcome import Failed, Fault, Held, Phase
from encord_agents.tasks.runner import messages
from encord_agents.tasks.runner.messages import WorkerDiedError, WorkerError

TASK = TaskRef(UUID(int=1), UUID(int=2), "file", UUID(int=3), "Pre-label")


def raised(kind: str) -> BaseException:
    try:
        raise EXCEPTIONS[kind]()
    except BaseException as error:
        return error


def sent(event: object, *, is_suspect: bool = False) -> messages.Told:
    told = messages.told(event, named_a_pathway=True, is_suspect=is_suspect, hold_back=0.0)  # type: ignore[arg-type]
    arrived: messages.Told = pickle.loads(pickle.dumps(told))
    return arrived


@pytest.mark.parametrize("kind", EXCEPTIONS)
def test_failures_of_every_kind_arrive(kind: str) -> None:
    """As text, with where they were raised: only the worker may be able to import them."""
    fault = Fault(Phase.AGENT, raised(kind), 2)
    for event in (AttemptFailed(TASK, fault, 0.5), TaskFinished(TASK, Failed(fault), 2, 0.1)):
        arrived = sent(event, is_suspect=True)
        assert type(arrived.event) is type(event)
        there = arrived.event.fault if isinstance(arrived.event, AttemptFailed) else arrived.event.outcome.fault  # type: ignore[union-attr]
        assert (there.phase, there.attempt) == (Phase.AGENT, 2)
        assert isinstance(there.exception, WorkerError)
        assert str(there.exception).startswith(described(fault.exception))
        assert "in raised" in formatted(there.exception)


def test_what_may_end_the_run_arrives_as_itself() -> None:
    """A suspect's own exception goes with its event; of other failures it does not."""
    fault = Fault(Phase.INJECT, DependencyError("no weights", function="agent"), 1, run_scoped=True)
    event = TaskFinished(TASK, Failed(fault), 1, 0.1)
    assert sent(event).suspect is None
    suspect = sent(event, is_suspect=True).suspect
    assert suspect is not None
    assert isinstance(suspect.error, DependencyError)


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
