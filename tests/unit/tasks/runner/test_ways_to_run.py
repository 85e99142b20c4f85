"""The longer messages of a queue runner: their code is right."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from queue import SimpleQueue
from textwrap import dedent
from typing import TYPE_CHECKING, Any

from encord_agents.tasks import QueueRunner
from encord_agents.tasks.runner.ways_to_run import NO_PROJECT, WAYS_TO_RUN

if TYPE_CHECKING:
    from tests.conftest import World


def ways(text: str) -> list[str]:
    """The code of each paragraph of a message: the lines that are further in than its words."""
    found = [re.findall(r"^ {2,}.*$", paragraph, re.MULTILINE) for paragraph in text.split("\n\n")]
    return [dedent("\n".join(lines)) for lines in found if lines]


def calls(code: str) -> dict[str, list[ast.Call]]:
    """The calls in some code, by the name of the function."""
    found: dict[str, list[ast.Call]] = {}
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call):
            found.setdefault(ast.unparse(node.func), []).append(node)
    return found


def fits(function: Any, call: ast.Call) -> bool:
    """True if a function can be called with such arguments."""
    bound = inspect.signature(function).bind(*call.args, **{str(one.arg): one.value for one in call.keywords})
    return bound is not None


def test_a_project_is_given_as_the_message_says() -> None:
    """It is the argument of that name."""
    (code,) = ways(NO_PROJECT)
    (call,) = calls(code)["QueueRunner"]
    assert [one.arg for one in call.keywords] == ["project_hash"]
    assert fits(QueueRunner, call)


def test_the_ways_are_numbered() -> None:
    """There are as many as are announced, each with code."""
    assert re.findall(r"^(\d)\. ", WAYS_TO_RUN, re.MULTILINE) == ["1", "2", "3"]
    assert "three ways" in WAYS_TO_RUN
    assert len(ways(WAYS_TO_RUN)) == 3


def test_several_processes(runner: QueueRunner) -> None:
    """The runner's own methods have these names and arguments; the one in the comment, too."""
    code = ways(WAYS_TO_RUN)[0]
    found = calls(code) | calls(code.partition("command line: ")[2])
    assert sorted(found) == ["runner.drain", "runner.run"]
    for name, (call,) in found.items():
        assert fits(getattr(runner, name.partition(".")[2]), call)


def test_celery(runner: QueueRunner) -> None:
    """The imported function is there, and takes the runner and an app."""
    code = ways(WAYS_TO_RUN)[1]
    (imported,) = [node for node in ast.parse(code).body if isinstance(node, ast.ImportFrom)]
    assert imported.module is not None
    (name,) = [one.name for one in imported.names]
    (call,) = calls(code)[name]
    assert fits(getattr(importlib.import_module(imported.module), name), call)


def test_an_engine_of_ones_own(world: World, runner: QueueRunner) -> None:
    """The loop, run as it is written, hands out tasks that the functions of the stages take."""
    agent = runner.stage("Pre-label")(lambda: "complete")
    world.project.add_placeholders(2)
    queue: SimpleQueue[str] = SimpleQueue()
    exec(ways(WAYS_TO_RUN)[2], {"runner": runner, "queue": queue})
    assert queue.qsize() == 2
    while not queue.empty():
        agent(queue.get())
    assert world.count("Done") == 2
