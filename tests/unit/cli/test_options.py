"""The options of runners' command lines: of the types that the calls take, and exit codes that are explained."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from encord_agents.cli.command import READER_LEFT
from encord_agents.cli.options import DRAIN_OPTIONS, EXIT_CODES_HELP, RUNNER_OPTIONS, Progress
from encord_agents.tasks import QueueRunner, Runner
from encord_agents.tasks.engine.stop import EXIT_CODES
from encord_agents.terminal.progress import ProgressKind

CALLS: list[tuple[Callable[..., Any], dict[str, Any]]] = [
    (Runner.__call__, RUNNER_OPTIONS),
    (QueueRunner.drain, DRAIN_OPTIONS),
]
EACH = [
    pytest.param(call, name, option, id=f"{call.__name__.strip('_')} {name}")
    for call, options in CALLS
    for name, option in options.items()
]


def alternatives(annotation: Any) -> set[Any]:
    """The types that a value may have."""
    union = isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union
    return set(get_args(annotation)) if union else {annotation}


def test_progress_has_every_kind() -> None:
    """Offer on the command line exactly the kinds of progress that a call takes, under the same names."""
    assert [kind.value for kind in Progress] == [*get_args(ProgressKind)]


@pytest.mark.parametrize(("call", "name", "option"), EACH)
def test_types(call: Callable[..., Any], name: str, option: Any) -> None:
    """Read values of types that the call takes, and no value at all exactly where the call takes `None`."""
    read = alternatives(get_args(option)[0])
    taken = alternatives(get_type_hints(call)[name])
    if read == {Progress}:
        assert taken == {ProgressKind}
        return
    assert read <= taken
    assert (type(None) in read) == (type(None) in taken)


@pytest.mark.parametrize(("call", "name", "option"), EACH)
def test_every_option_is_explained(call: Callable[..., Any], name: str, option: Any) -> None:
    """Have a sentence for each option, a unit for times and a word for files, and a default where it is none."""
    given = get_args(option)[1]
    assert (given.help or "").endswith(".")
    read = alternatives(get_args(option)[0])
    in_seconds = float in read or name == "refresh_every"
    assert given.metavar == ("SECONDS" if in_seconds else "FILE" if Path in read else None)
    if type(None) in read and name != "report":
        assert "Default: " in given.help


def test_a_drain_leaves_the_outage_to_the_script() -> None:
    """Give a drain no default of its own, other than a run in one process, so that the script's counts."""
    assert alternatives(get_args(DRAIN_OPTIONS["max_outage"])[0]) == {float, type(None)}
    assert alternatives(get_args(RUNNER_OPTIONS["max_outage"])[0]) == {float}


def test_every_exit_code_is_explained() -> None:
    """Explain each exit code that a command can end with, in order, and no other."""
    explained = [int(code) for code in re.findall(r"^  (\d+) ", EXIT_CODES_HELP, re.MULTILINE)]
    assert explained == sorted({0, 1, 2, READER_LEFT, *EXIT_CODES.values()})
