"""In the kernel of a notebook: what a script does is told otherwise, and nothing ends the kernel."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
from jupyter_client.manager import KernelManager

if TYPE_CHECKING:
    from tests.conftest import World

Cell = Callable[[str], tuple[str, str]]

AGENT = """
    import asyncio, sys
    from encord.workflow.stages.agent import AgentTask
    from encord_agents.tasks import QueueRunner, Runner

    runner = Runner("{project}")

    @runner.stage("Pre-label")
    def agent(task: AgentTask) -> str:
        async def answer() -> str:
            return "complete"
        return asyncio.run(answer())
"""


@pytest.fixture
def cell(world: World) -> Iterator[Cell]:
    """Runs a cell in a kernel of its own, and returns its output and the name and text of its error."""
    manager = KernelManager(ip="127.0.0.1")
    environment = os.environ | world.platform.environment() | {"PYTHONPATH": os.pathsep.join(sys.path)}
    manager.start_kernel(env=environment | {"PYTHONWARNINGS": "ignore"})
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=100)

        def run(code: str) -> tuple[str, str]:
            texts: list[str] = []
            errors: list[str] = []

            def hook(message: dict[str, dict[str, str]]) -> None:
                content = message["content"]
                texts.append(content.get("text", ""))
                if "ename" in content:
                    errors.append(f"{content['ename']}: {content['evalue']}")

            client.execute_interactive(textwrap.dedent(code), output_hook=hook, timeout=100)
            return "".join(texts), "".join(errors)

        yield run
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()


def test_a_notebook(world: World, cell: Cell) -> None:
    """``run()`` says what to call, ``asyncio.run`` is given a hint, and calls of the runner work."""
    world.project.add_placeholders(2)
    assert cell(AGENT.format(project=world.project.project_hash)) == ("", "")
    for code in ("runner.run()", "sys.argv = ['x']; runner.run()"):
        _, error = cell(code)
        assert error.startswith("PrintableError")
        assert "the notebook's" in error
        assert "report = runner(" in error
    shown, error = cell("report = runner(progress='none', num_retries=0); print(report.failures[0].traceback)")
    assert error == ""
    assert "max_workers=2" in shown
    assert cell("print(runner(progress='none', max_workers=2).moved)") == ("2\n", "")
    world.project.add_placeholders(2)
    shown, error = cell(
        """
        @runner.stage("Pre-label", overwrite=True)
        async def later(task: AgentTask) -> str:
            return "complete"

        print(runner(progress="none").moved)
        """
    )
    assert (shown, error) == ("2\n", "")
    _, error = cell(
        f"""
        queue = QueueRunner("{world.project.project_hash}")

        @queue.stage("Pre-label")
        def worker(task: AgentTask) -> str:
            return "complete"

        queue.drain(workers=1, progress="none")
        """
    )
    assert "it was defined in a notebook" in error
    assert cell("print('alive')") == ("alive\n", "")
