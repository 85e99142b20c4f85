"""Options of runs: checked once, with one meaning for every kind of run."""

from __future__ import annotations

import inspect
import pickle
from dataclasses import fields
from typing import Any

import pytest

from encord_agents.exceptions import PrintableError
from encord_agents.integrations.celery import register
from encord_agents.tasks import QueueRunner, Runner
from encord_agents.tasks.runner.run_options import NUMBERS, DrainOptions, RunnerOptions, RunOptions, check_number


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"num_retries": -1}, "num_retries=-1 is out of range: it must be at least 0 (attempts after the first"),
        ({"num_retries": 1.5}, "num_retries=1.5 is not a whole number: it is attempts after the first"),
        ({"num_retries": True}, "num_retries=True is not a whole number"),
        ({"num_retries": None}, "num_retries=None is not a whole number"),
        ({"retry_delay": float("nan")}, "retry_delay=nan is out of range"),
        ({"retry_delay": float("inf")}, "retry_delay=inf is out of range"),
        ({"refresh_every": "5"}, "refresh_every='5' is not a number"),
        ({"task_batch_size": 0}, "task_batch_size=0 is out of range"),
        ({"max_workers": 0}, "max_workers=0 is out of range"),
        ({"max_outage": None}, "max_outage=None is not a number"),
        ({"dry_run": True, "refresh_every": 5}, "leave out refresh_every"),
    ],
)
def test_options_that_are_refused(options: dict[str, Any], said: str) -> None:
    """The message has the value, its bounds, and the meaning."""
    with pytest.raises(PrintableError) as raised:
        RunnerOptions(**options)
    assert said in str(raised.value)


def test_options_that_may_be_left_out() -> None:
    """``None`` is an answer where there is a default that no number says."""
    RunnerOptions(refresh_every=None, max_tasks_per_stage=None, max_consecutive_failures=None)
    DrainOptions(workers=None, max_outage=None)
    check_number("poll_every", None, optional=True)
    with pytest.raises(PrintableError, match="it must be from 1 to 100"):
        check_number("batch_size", 101, most=100)


@pytest.mark.parametrize("kind", [RunnerOptions, DrainOptions])
def test_no_seconds_between_passes(kind: type[RunOptions]) -> None:
    """They mean one pass, as in 0.2.10, also in a dry run."""
    assert kind(refresh_every=0) == kind(refresh_every=0.0) == kind()
    assert kind(refresh_every=0, dry_run=True).refresh_every is None
    with pytest.raises(PrintableError, match=r"refresh_every=0\.5 is out of range: it must be at least 1"):
        kind(refresh_every=0.5)


@pytest.mark.parametrize(("call", "kind"), [(Runner.__call__, RunnerOptions), (QueueRunner.drain, DrainOptions)])
def test_options_are_those_of_the_call(call: Any, kind: type) -> None:
    """Each is an argument of the call, with the same default but for progress, which only calls show."""
    arguments = inspect.signature(call).parameters
    for field in fields(kind):
        if field.name != "progress":
            assert arguments[field.name].default == field.default, field.name
    others = {"self", "project_hash", "executor", "stop"}
    assert {field.name for field in fields(kind)} == arguments.keys() - others


def test_every_number_is_checked() -> None:
    """What is a number in some call has bounds here."""
    calls = (Runner.__call__, Runner.run_stage, QueueRunner.drain, register)
    numbers = {
        name
        for call in calls
        for name, argument in inspect.signature(call).parameters.items()
        if "int" in str(argument.annotation) or "float" in str(argument.annotation)
    }
    assert numbers == set(NUMBERS)


def test_workers_have_them_too() -> None:
    """They are sent to other processes."""
    options = DrainOptions(batch_size=3, max_outage=1.5)
    assert pickle.loads(pickle.dumps(options)) == options
