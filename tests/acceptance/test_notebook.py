"""In the kernel of a notebook: live bars, cells that are run again or interrupted, and `runner.run()`."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from tests.notebooks import Kernel, Output, kernel
from tests.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import World

AGENT = """
    import asyncio, sys
    from encord.workflow.stages.agent import AgentTask
    from encord_agents.tasks import QueueRunner, Runner

    runner = Runner("{project}")

    @runner.stage("Pre-label")
    def agent(task: AgentTask) -> str:
        {body}
        return "complete"
"""


class Notebook:
    """A notebook that works on the world's project."""

    def __init__(self, world: World, running: Kernel) -> None:
        self.world = world
        self.kernel = running

    def cell(self, code: str) -> list[Output]:
        return self.kernel.run(textwrap.dedent(code))

    def says(self, code: str) -> str:
        """The text that a cell prints; it has no other output."""
        outputs = self.cell(code)
        assert {output["output_type"] for output in outputs} <= {"stream"}, outputs
        return "".join(output["text"] for output in outputs)

    def error(self, code: str) -> str:
        """The name and message of the error that a cell ends with."""
        (*_, output) = self.cell(code)
        assert output["output_type"] == "error", output
        return f"{output['ename']}: {output['evalue']}"

    def define(self, body: str = "pass") -> None:
        assert self.says(AGENT.format(project=self.world.project.project_hash, body=body)) == ""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """One kernel for all tests, as it takes three seconds of processor time to start."""
    with kernel(tmp_path_factory.mktemp("kernel")) as started:
        assert started.run("import sys; sys.first_arguments = [*sys.argv]") == []
        yield started


@pytest.fixture
def notebook(world: World, tmp_path: Path, running: Kernel) -> Notebook:
    """A notebook in which nothing has been run."""
    assert running.run("%reset -f") == []
    begin = f"""
        import os, sys
        os.environ.update({world.platform.environment()!r})
        os.chdir({str(tmp_path)!r})
        sys.argv[:] = sys.first_arguments
    """
    assert running.run(textwrap.dedent(begin)) == []
    running.messages.clear()
    running.on_output = None
    return Notebook(world, running)


def html(output: dict[str, Any]) -> str:
    return str(output["data"]["text/html"])


def test_a_script_in_a_notebook(notebook: Notebook) -> None:
    """``run()`` says what to call, ``asyncio.run`` is given a hint, and calls made as it says work."""
    world = notebook.world
    world.project.add_placeholders(2)
    notebook.define("return asyncio.run(asyncio.sleep(0, 'complete'))")
    for code in ("runner.run()", "sys.argv = ['x']; runner.run()"):
        error = notebook.error(code)
        assert error.startswith("PrintableError")
        assert "the notebook's" in error
        assert "report = runner(" in error
    shown = notebook.says("report = runner(progress='none', num_retries=0); print(report.failures[0].traceback)")
    assert "max_workers=2" in shown
    assert "asyncio.to_thread(runner.try_on)" in shown
    shown = notebook.says("print((await asyncio.to_thread(runner.try_on)).would)")
    assert shown == "would move along 'complete'\n"
    shown = notebook.says("print((await asyncio.to_thread(runner.run_stage, 'Pre-label', max_tasks=1)).moved)")
    assert shown.endswith("1\n")
    assert notebook.says("print(runner(progress='none', max_workers=2).moved)") == "1\n"
    error = notebook.error(
        f"""
        queue = QueueRunner("{world.project.project_hash}")

        @queue.stage("Pre-label")
        def worker(task: AgentTask) -> str:
            return "complete"

        queue.drain(workers=1, progress="none")
        """
    )
    assert "it was defined in a notebook" in error
    assert notebook.says("print('alive')") == "alive\n"


def test_a_message_for_a_person(notebook: Notebook) -> None:
    """A mistake in a cell is its line and a message, with its notes, and no traceback of the library."""
    notebook.define()
    (output,) = notebook.cell("number = 1\nrunner.stage('Pre-labell')(lambda: 'complete')")
    line, *message = output["traceback"]
    assert line == "line 2, in <module>: runner.stage('Pre-labell')(lambda: 'complete')"
    assert "UnknownStageError" in message[0]
    assert "Did you mean 'Pre-label'?" in "\n".join(message)
    (output,) = notebook.cell("runner.observers.append(1 / 0)")
    assert len(output["traceback"]) > 2


def test_a_live_bar(notebook: Notebook) -> None:
    """One output below the cell, replaced as the run goes on, with counts and times; and the report as a table."""
    notebook.world.project.add_placeholders(40)
    notebook.define("__import__('time').sleep(0.05)")
    bars, report = notebook.cell("runner()")
    assert bars["output_type"] == "display_data"
    assert "40/40" in html(bars)
    assert "40 moved" in html(bars)
    assert "0:0" in html(bars)
    assert "Pre-label: 40 of 40; 40 moved" in bars["data"]["text/plain"]
    assert report["output_type"] == "execute_result"
    assert "<th>moved</th>" in html(report)
    kinds = Counter(notebook.kernel.messages)
    assert kinds["update_display_data"] >= 2
    assert kinds == {"display_data": 1, "execute_result": 1, "update_display_data": kinds["update_display_data"]}


def test_a_bar_while_an_agent_is_slow(notebook: Notebook, tmp_path: Path) -> None:
    """It is there before the first task is done, and says how much time is left as soon as that can be told."""
    notebook.world.project.add_placeholders(6)
    notebook.define("wait_for_it(task)")
    notebook.says(
        """
        import os, time

        done = []

        def wait_for_it(task):
            done.append(task)
            while len(done) > 3 and not os.path.exists("go"):
                time.sleep(0.01)
        """
    )
    seen: list[str] = []

    def look(message: dict[str, Any]) -> None:
        if message["msg_type"] in ("display_data", "update_display_data"):
            seen.append(html(message["content"]))
            if " left" in seen[-1]:
                (tmp_path / "go").touch()

    notebook.kernel.on_output = look
    notebook.cell("report = runner()")
    assert "0/0 so far" in seen[0]
    assert (tmp_path / "go").exists()
    assert " left" not in seen[-1]
    assert "6 moved" in seen[-1]


def test_many_failures_are_one_message(notebook: Notebook) -> None:
    """The first is shown below the bars; the others are counted, and listed by the report."""
    notebook.world.project.add_placeholders(50)
    notebook.define("raise ValueError('bad file')")
    (bars,) = notebook.cell("report = runner(num_retries=0)")
    assert "50 failed" in html(bars)
    assert html(bars).count("The first failure") == 1
    assert "Traceback" in html(bars)
    assert bars["data"]["text/plain"].count("bad file") == 1
    (report,) = notebook.cell("report")
    assert html(report).count("<details>") == 10
    assert "and 40 more" in html(report)


def test_a_kernel_that_shows_nothing(notebook: Notebook) -> None:
    """Where a display cannot be shown, the progress is lines, and the run is not disturbed."""
    notebook.world.project.add_placeholders(2)
    notebook.define()
    notebook.says("shell = get_ipython(); publish = shell.display_pub.publish")
    shown = notebook.says("shell.display_pub.publish = None; report = runner(); shell.display_pub.publish = publish")
    assert "Pre-label: finished 2 tasks" in shown
    assert notebook.says("report = runner(progress='plain')").startswith("Pre-label: started, agent()")


def test_a_cell_that_is_run_again(notebook: Notebook) -> None:
    """It replaces the function that it defined before; another function for the stage is an error, as in a script."""
    world = notebook.world
    world.project.add_placeholders(2)
    notebook.define()
    again = """
        @runner.stage("Pre-label")
        def agent(task: AgentTask) -> str:
            return "{pathway}"

        print(len(runner.agents))
    """
    for pathway in ("complete", "review"):
        assert notebook.says(again.format(pathway=pathway)) == "1\n"
    assert notebook.says("print(runner(progress='none').moved)") == "2\n"
    assert world.count("Review") == 2
    error = notebook.error("@runner.stage('Pre-label')\ndef other(): return 'complete'")
    assert error.startswith("StageAlreadyAssignedError")
    stage = world.project.stage("Pre-label").uuid
    assert notebook.says(again.format(pathway="complete").replace('"Pre-label"', f"'{stage}'")) == "1\n"


def test_a_cell_with_an_object_that_is_run_again(notebook: Notebook) -> None:
    """An object of a class, or a `partial`, replaces its like; another class does not."""
    notebook.world.project.add_placeholders(2)
    notebook.define()
    cell = """
        from functools import partial

        class Agent:
            def __call__(self, task: AgentTask) -> str:
                return "complete"

        def either(pathway: str, task: AgentTask) -> str:
            return pathway

        runner.agents.clear()
        for number in range(2):
            runner.stage("Pre-label")(Agent())
            runner.stage("Triage")(partial(either, "ok"))
        print(len(runner.agents))
    """
    assert notebook.says(cell) == "2\n"
    assert notebook.says("print(runner(progress='none').moved)") == "2\n"
    assert notebook.error("runner.stage('Pre-label')(partial(either, 'complete'))").startswith("StageAlreadyAssigned")


def test_a_cell_of_a_queue_runner_that_is_run_again(notebook: Notebook) -> None:
    """The new function is called, also where the runner had connected already."""
    world = notebook.world
    world.project.add_placeholders(2)
    notebook.define()
    cell = f"""
        queue = globals().get("queue") or QueueRunner("{world.project.project_hash}")

        @queue.stage("Pre-label")
        def agent() -> str:
            return "PATHWAY"

        (stage,) = [stage for stage in queue.get_agent_stages() if stage.title == "Pre-label"]
        task = next(iter(stage.get_tasks()))
        print('"success":true' in agent(task.model_dump_json()))
    """
    for pathway in ("complete", "review"):
        assert notebook.says(cell.replace("PATHWAY", pathway)) == "True\n"
    assert (world.count("Done"), world.count("Review")) == (1, 1)


def test_processes_that_do_not_have_the_cells(notebook: Notebook, tmp_path: Path) -> None:
    """Forks have them. Others are not asked to run them, nor the file that an editor's cells are from, as it was saved,
    which multiprocessing imports there."""
    world = notebook.world
    world.project.add_placeholders(3)
    notebook.define()
    agent = "def agent(task: AgentTask) -> str:\n    return '{}'\n"
    queue = f"queue = QueueRunner('{world.project.project_hash}')\n@queue.stage('Pre-label')\n"
    imports = "from encord_agents.tasks import QueueRunner\nfrom encord.workflow.stages.agent import AgentTask\n"
    (tmp_path / "explore.py").write_text(imports + queue + agent.format("review"))
    notebook.says("__spec__ = None")  # as kernels have it, before `%reset`
    notebook.says(queue + agent.format("complete"))
    drain = """
        from concurrent.futures import ProcessPoolExecutor
        from multiprocessing import get_context

        with ProcessPoolExecutor(1, get_context("{}")) as executor:
            print(queue.drain(executor=executor, max_tasks_per_stage=1, progress="none").moved)
    """
    assert "__main__.agent cannot be sent to other processes" in notebook.error(drain.format("spawn"))
    notebook.says(f"__file__ = {str(tmp_path / 'explore.py')!r}")
    assert "it was defined in a notebook" in notebook.error(drain.format("spawn"))
    assert "it was defined in a notebook" in notebook.error("queue.drain(workers=1)")
    assert world.count("Pre-label") == 3
    assert notebook.says(drain.format("fork")) == "1\n"
    assert world.count("Done") == 1


def test_cells_that_await(notebook: Notebook) -> None:
    """Async agents run, in a cell with an ``await`` of its own too, in whose thread a loop is running."""
    world = notebook.world
    world.project.add_placeholders(4)
    notebook.define()
    shown = notebook.says(
        """
        @runner.stage("Pre-label", overwrite=True)
        async def later(task: AgentTask) -> str:
            await asyncio.sleep(0)
            return "complete"

        await asyncio.sleep(0)
        print(runner(progress="none", max_tasks_per_stage=2).moved)
        await asyncio.sleep(0)
        """
    )
    assert shown == "2\n"
    shown = notebook.says("print(await asyncio.to_thread(lambda: runner(progress='none').moved))")
    assert shown == "2\n"


def test_an_interrupted_cell(notebook: Notebook) -> None:
    """The stop button ends the run cleanly: finished tasks are written, and the next cell works."""
    world = notebook.world
    world.project.add_placeholders(10)
    notebook.define("sys.stdout.write('working\\n'); __import__('time').sleep(world_waits)")
    notebook.says("world_waits = 0; first = runner(progress='none', max_tasks_per_stage=3); world_waits = 3600")
    interrupted: list[bool] = []

    def interrupt(message: dict[str, Any]) -> None:
        if "working" in message["content"].get("text", "") and not interrupted:
            interrupted.append(True)
            notebook.kernel.manager.interrupt_kernel()

    notebook.kernel.on_output = interrupt
    assert notebook.error("runner()").startswith("KeyboardInterrupt")
    notebook.kernel.on_output = None
    assert world.count("Done") == 3
    assert notebook.says("print(runner.report.stopped)") == "interrupted\n"
    assert notebook.says("world_waits = 0; print(runner(progress='none').moved)").endswith("7\n")
    assert until(lambda: world.count("Done") == 10)
