"""`encord-agents celery`: its words and exit codes, with what was sent and what the broker says played."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
import typer
from celery import Celery
from encord.exceptions import AuthenticationError
from tests.ports import free_port

from encord_agents.cli import celery as module
from encord_agents.exceptions import OutageError, PrintableError
from encord_agents.integrations.celery import BrokerError, StageStatus
from encord_agents.integrations.celery.adapter import adapter_of
from encord_agents.integrations.celery.filling import Filled

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Command

WHERE = "agents_of_this_test:app"


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Celery:
    """The app that the commands are told of; its broker is a Redis that nobody serves."""
    agents = ModuleType("agents_of_this_test")
    made = Celery("agents", broker=f"redis://127.0.0.1:{free_port()}/0", set_as_current=False)
    vars(agents)["app"] = made
    monkeypatch.setitem(sys.modules, agents.__name__, agents)
    return made


Fill = Callable[..., list[tuple[Any, dict[str, Any]]]]


@pytest.fixture
def fill(monkeypatch: pytest.MonkeyPatch) -> Fill:
    """Has stages filled with what it is told, and lists the calls."""

    def played(*stages: Filled, then: Exception | None = None) -> list[tuple[Any, dict[str, Any]]]:
        calls = []

        def fill_each(app: Celery, **options: Any) -> Iterator[Filled]:
            calls.append((app, options))
            yield from stages
            if then is not None:
                raise then

        monkeypatch.setattr("encord_agents.integrations.celery.filling.fill_each", fill_each)
        return calls

    return played


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], (None, None, False)),
        (["--stage", "Pre label", "--max-tasks", "1", "--again"], ("Pre label", 1, True)),
    ],
)
def test_options_of_enqueue(
    command: Command, app: Celery, fill: Fill, options: list[str], expected: tuple[object, ...]
) -> None:
    """Reach the sending as they are given, with the app that was named."""
    calls = fill()
    assert command("celery", "enqueue", WHERE, *options).code == 0
    assert calls == [(app, dict(zip(("stage", "max_tasks", "again"), expected, strict=True)))]


@pytest.mark.parametrize(
    ("stages", "lines"),
    [
        ([], ["0 tasks sent."]),
        ([Filled("Pre", 1, 0)], ["Pre: 1 sent", "1 task sent."]),
        ([Filled("Pre", 0, 0), Filled("Post", 3, 0)], ["Pre: 0 sent", "Post: 3 sent", "3 tasks sent."]),
        ([Filled("Pre\x1b[2J", 2, 0)], [r"Pre\x1b[2J: 2 sent", "2 tasks sent."]),
    ],
)
def test_counts_of_what_was_sent(
    command: Command, app: Celery, fill: Fill, stages: list[Filled], lines: list[str]
) -> None:
    """Have a line for each stage and one for the sum, and no advice on a purge where nothing was left out."""
    fill(*stages)
    assert command("celery", "enqueue", WHERE).out.splitlines() == lines


def test_tasks_left_out_are_summed(command: Command, app: Celery, fill: Fill) -> None:
    """Name the option that sends them again, once for all stages."""
    fill(Filled("Pre", 0, 3), Filled("Post", 1, 4))
    last = command("celery", "enqueue", WHERE).out.splitlines()[-1]
    assert last.startswith("7 in the queue or at work already: left out.")
    assert "--again" in last


def test_a_broker_that_goes_between_two_stages(command: Command, app: Celery, fill: Fill) -> None:
    """Tell what was sent before, and of no sum; the exit code is 1, since another try may be enough."""
    fill(Filled("Pre", 2, 0), then=BrokerError("The broker cannot be reached.", lasts=False))
    ran = command("celery", "enqueue", WHERE)
    assert (ran.code, ran.out) == (1, "Pre: 2 sent\n")
    assert ran.err == "Error: The broker cannot be reached.\n"


@pytest.mark.parametrize("given", ["0", "-1", "many"])
def test_a_number_of_tasks_that_makes_no_sense(command: Command, app: Celery, fill: Fill, given: str) -> None:
    """Name the option, and send nothing."""
    calls = fill()
    ran = command("celery", "enqueue", WHERE, "--max-tasks", given)
    assert ran.code == 2
    assert "--max-tasks" in ran.words
    assert calls == []


def refused() -> AuthenticationError:
    """A refusal of the platform, with a note of ours."""
    error = AuthenticationError("No\x1b[2J entry.")
    error.add_note("While asking for the project.")
    return error


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (BrokerError("It is \x1b[2Jloading.", lasts=False), 1, "Error: It is \\x1b[2Jloading.\n"),
        (OutageError(300.0, ConnectionError()), 1, "Error: The platform has not answered for 300 s"),
        (refused(), 2, "Error: AuthenticationError: No\\x1b[2J entry."),
    ],
    ids=["broker", "outage", "refusal"],
)
def test_errors_that_are_told(error: Exception, code: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """End with 1 where waiting is enough and with 2 where somebody must act, and show a message that is safe."""
    with pytest.raises(typer.Exit) as ended, module._told():
        raise error
    out, err = capsys.readouterr()
    assert (ended.value.exit_code, out) == (code, "")
    assert err.startswith(said)
    assert err.splitlines()[1:] == getattr(error, "__notes__", err.splitlines()[1:])


@pytest.mark.parametrize(
    "error",
    [BrokerError("It is read-only.", lasts=True), PrintableError("No such stage."), ZeroDivisionError()],
    ids=lambda error: type(error).__name__,
)
def test_errors_that_pass(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    """Leave lasting refusals and mistakes to the command, which ends with 2, and bugs to their traceback."""
    with pytest.raises(type(error)) as raised, module._told():
        raise error
    assert raised.value is error
    assert capsys.readouterr().err == ""


def test_status_where_marks_are_shared(command: Command, app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    """Show all four numbers of each stage under their names, and no word of numbers that are unknown."""
    adapter_of(app, make=True)
    rows = [StageStatus("Pre label", 11, 22, 33, 44), StageStatus("Post", 0, 0, 0, 0)]
    monkeypatch.setattr("encord_agents.integrations.celery.status", lambda given: rows if given is app else [])
    ran = command("celery", "status", WHERE)
    assert ran.code == 0
    assert ran.out.splitlines() == [
        "stage      waiting  in flight  done  failed",
        "Pre label  11       22         33    44",
        "Post       0        0          0     0",
    ]


def test_status_of_a_broker_that_is_gone(command: Command, app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    """Print a message and no table."""

    def gone(_: Celery) -> list[StageStatus]:
        raise BrokerError("The broker cannot be reached.", lasts=False)

    monkeypatch.setattr("encord_agents.integrations.celery.status", gone)
    ran = command("celery", "status", WHERE)
    assert (ran.code, ran.out, ran.err) == (1, "", "Error: The broker cannot be reached.\n")


@pytest.mark.parametrize(
    ("name", "shown"), [("enqueue", ["MODULE:APP", "--stage", "--max-tasks", "--again"]), ("status", ["MODULE:APP"])]
)
def test_help(command: Command, name: str, shown: list[str]) -> None:
    """Name the argument and every option."""
    ran = command("celery", name, "--help")
    assert ran.code == 0
    assert [word for word in shown if word not in ran.out] == []
