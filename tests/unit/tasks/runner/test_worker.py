"""What a worker answers, on its way to another process."""

from __future__ import annotations

import pickle
from uuid import uuid4

import pytest
from tests.misbehaving import EXCEPTIONS

from encord_agents.core.tracebacks import described, notes
from encord_agents.tasks.engine.outcome import Fault, Phase
from encord_agents.tasks.runner.worker import Answer, portable, portable_answer


@pytest.mark.parametrize("kind", EXCEPTIONS)
def test_exceptions_of_every_kind_arrive(kind: str) -> None:
    """As themselves or as text, with where they were raised: what ends a run, and what may be every task's trouble."""
    try:
        raise EXCEPTIONS[kind]()
    except BaseException as error:
        uuid, exception = uuid4(), error
    fault = Fault(Phase.INJECT, exception, 1, run_scoped=True)
    answer = portable_answer(Answer(error=portable(exception), suspects={uuid: fault}))
    arrived = pickle.loads(pickle.dumps(answer))
    assert arrived.suspects[uuid].run_scoped
    for there in (arrived.error, arrived.suspects[uuid].exception):
        told = "\n".join([described(there), *notes(there)])
        assert kind in told
        assert "in test_exceptions_of_every_kind_arrive" in told
