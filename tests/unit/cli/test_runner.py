"""A runner's command lines: its options as arguments of the call, and `--check` instead of it."""

from __future__ import annotations

import functools
import inspect
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from encord_agents.cli.runner import drain_as_command, run_as_command
from encord_agents.tasks import QueueRunner, Runner
from encord_agents.tasks.engine.events import TaskRef
from encord_agents.tasks.engine.report import RunReport
from encord_agents.tasks.engine.stop import Stop

HASH = "11111111-1111-4111-8111-111111111111"
SHARED = {
    "refresh_every": ("60", 60),
    "num_retries": ("0", 0),
    "max_tasks_per_stage": ("1", 1),
    "progress": ("none", "none"),
    "max_outage": ("0.5", 0.5),
    "retry_delay": ("2.5", 2.5),
    "max_consecutive_failures": ("7", 7),
    "dry_run": (None, True),
    "bundle_saves": (None, True),
    "report": ("a b.jsonl", Path("a b.jsonl")),
}
"""Each option with a value that is not its default, as it is typed and as the call gets it."""
OF_RUNNERS = SHARED | {"task_batch_size": ("2", 2), "project_hash": (HASH, HASH), "max_workers": ("3", 3)}
OF_DRAINS = SHARED | {"workers": ("4", 4), "batch_size": ("5", 5)}

Calls = list[dict[str, Any]]


def typed(options: dict[str, tuple[str | None, Any]]) -> list[str]:
    """The options as a person types them."""
    return [
        word
        for name, (text, _) in options.items()
        for word in (f"--{name.replace('_', '-')}", text)
        if word is not None
    ]


def recording(call: Callable[..., RunReport], calls: Calls, report: RunReport) -> Callable[..., RunReport]:
    """A call with the same arguments that runs nothing."""

    @functools.wraps(call)
    def recorded(_: object, **given: Any) -> RunReport:
        calls.append(given)
        return report

    return recorded


@pytest.fixture
def report() -> RunReport:
    """The report of the run; a task that could not be written makes its exit code 1."""
    return RunReport()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, report: RunReport) -> Calls:
    """The arguments with which runs and drains were called."""
    calls: Calls = []
    monkeypatch.setattr(Runner, "__call__", recording(Runner.__call__, calls, report))
    monkeypatch.setattr(QueueRunner, "drain", recording(QueueRunner.drain, calls, report))
    return calls


def ended(kind: str, argv: list[str]) -> Any:
    """The exit code of a command line."""
    commands = {
        "runner": lambda: run_as_command(Runner(), argv),
        "drain": lambda: drain_as_command(QueueRunner(HASH), argv),
    }
    with pytest.raises(SystemExit) as end:
        commands[kind]()
    return end.value.code


@pytest.mark.parametrize(("kind", "options"), [("runner", OF_RUNNERS), ("drain", OF_DRAINS)])
def test_options_are_arguments(kind: str, options: dict[str, tuple[str | None, Any]], calls: Calls) -> None:
    """Reach the call with the values that were typed, and bring along the stop of the signals."""
    assert ended(kind, typed(options)) == 0
    (given,) = calls
    assert isinstance(given.pop("stop"), Stop)
    assert given == {name: value for name, (_, value) in options.items()}


@pytest.mark.parametrize("kind", ["runner", "drain"])
def test_without_options(kind: str, calls: Calls) -> None:
    """Leave the call its own defaults."""
    assert ended(kind, []) == 0
    (given,) = calls
    call = Runner.__call__ if kind == "runner" else QueueRunner.drain
    defaults = {name: argument.default for name, argument in inspect.signature(call).parameters.items()}
    del given["stop"]
    assert given == {name: defaults[name] for name in given}
    assert given.keys() == defaults.keys() - {"self", "stop", "executor"}


@pytest.mark.parametrize("kind", ["runner", "drain"])
def test_the_exit_code_is_the_reports(kind: str, calls: Calls, report: RunReport) -> None:
    """End with 1 where a task could not be written."""
    report.unwritten = (TaskRef(UUID(HASH), UUID(HASH), "a.png", UUID(HASH), "Pre-label"),)
    assert ended(kind, []) == 1


class Older(Runner):
    """A runner whose call is overridden as it could be with 0.2.10: with that version's arguments, and no result."""

    def __call__(  # type: ignore[override]
        self,
        refresh_every: int | None = None,
        num_retries: int = 5,
        task_batch_size: int = 300,
        project_hash: str | None = None,
        max_tasks_per_stage: int | None = None,
    ) -> None:
        self.handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        super().__call__(num_retries=num_retries, max_tasks_per_stage=max_tasks_per_stage)


class Passing(Runner):
    """A runner whose call passes on what it is given."""

    def __call__(self, *args: Any, **given: Any) -> RunReport:
        return super().__call__(*args, **given)


class PassingOn(QueueRunner):
    """A queue runner whose drain passes on what it is given, and returns nothing."""

    def drain(self, **given: Any) -> None:  # type: ignore[override]
        super().drain(**given)


def run(runner: Runner | QueueRunner, argv: list[str]) -> Any:
    with pytest.raises(SystemExit) as end:
        (drain_as_command if isinstance(runner, QueueRunner) else run_as_command)(runner, argv)  # type: ignore[arg-type]
    return end.value.code


def test_a_call_with_fewer_arguments(calls: Calls, capsys: pytest.CaptureFixture[str]) -> None:
    """Offer those as options, with their own defaults, and no others."""
    assert run(Older(), ["--max-tasks-per-stage", "7"]) == 0
    assert calls == [{"num_retries": 5, "max_tasks_per_stage": 7}]
    assert run(Older(), ["--dry-run"]) == 2
    assert "No such option: --dry-run" in capsys.readouterr().err
    assert run(Older(), ["--check", "--task-batch-size", "0"]) == 2
    assert "task_batch_size=0" in capsys.readouterr().err


def test_signals_of_a_call_that_takes_no_stop(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave them to the process, since a request to stop would not reach the run; a Ctrl-C ends it all the same."""
    runner = Older()
    assert run(runner, []) == 0
    assert runner.handlers == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Runner, "__call__", interrupted)
    assert run(runner, []) == 130


@pytest.mark.parametrize("runner", [Passing(), PassingOn(HASH)])
def test_a_call_that_passes_on_its_arguments(runner: Runner | QueueRunner, calls: Calls) -> None:
    """Offer the options of the call that it overrides."""
    options = OF_RUNNERS if isinstance(runner, Runner) else OF_DRAINS
    assert run(runner, typed(options)) == 0
    (given,) = calls
    assert isinstance(given.pop("stop"), Stop)
    assert given == {name: value for name, (_, value) in options.items()}


class Checked(Runner):
    """A runner whose check tells which project it was made for."""

    def __init__(self) -> None:
        super().__init__()
        self.checked: list[object] = []

    def check(self, project_hash: object = None) -> list[tuple[str, str, str, list[str]]]:
        self.checked.append(project_hash)
        return [("Pre\nlabel", HASH, "agent", ["AgentTask", "LabelRowV2"])]


@pytest.mark.parametrize(("argv", "project"), [([], None), (["--project-hash", HASH], HASH)])
def test_a_check(argv: list[str], project: str | None, calls: Calls, capsys: pytest.CaptureFixture[str]) -> None:
    """Take the project of the command line, show a line for each agent, and call nothing."""
    runner = Checked()
    with pytest.raises(SystemExit) as end:
        run_as_command(runner, ["--check", *argv])
    assert (end.value.code, runner.checked, calls) == (0, [project], [])
    (_, line) = capsys.readouterr().out.splitlines()
    assert line.split("  ") == ["Pre label", HASH, "agent()", " AgentTask, LabelRowV2"]


def test_a_check_with_a_number_out_of_range() -> None:
    """Refuse the number before the project is looked at."""
    runner = Checked()
    with pytest.raises(SystemExit) as end:
        run_as_command(runner, ["--check", "--task-batch-size", "0"])
    assert (end.value.code, runner.checked) == (2, [])


@pytest.mark.parametrize("option", ["--no-dry-run", "--no-bundle-saves", "--no-check"])
def test_switches_have_no_counterpart(option: str, calls: Calls) -> None:
    """Turn a switch on by its name alone, and refuse a ``--no-`` form, which would mean nothing."""
    assert ended("runner", [option]) == 2
    assert calls == []


def test_a_drain_has_no_check(calls: Calls, capsys: pytest.CaptureFixture[str]) -> None:
    """Refuse the option by its name, instead of draining."""
    assert ended("drain", ["--check"]) == 2
    assert "--check" in capsys.readouterr().err
    assert calls == []
