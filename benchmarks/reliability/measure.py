"""Run 300 tasks into one kind of trouble after the other, and say what became of them.

    .venv/bin/python -m benchmarks.reliability.measure                                        # this library
    .venv/bin/python -m benchmarks.reliability.measure --python .venv-peer/bin/python         # the other

The platform is in this process, the agents in another, run by the interpreter that is named.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from encord_agents.local import AgentStage, Fault, LocalPlatform, LocalProject, Stage, Workflow

TASKS = 300
BAD = 149
"""The task that is in trouble, where it is one: in the middle, so that others come before and after it."""
INTERRUPT_AFTER = 150
CASES = {
    "dependency": "one task's dependency raises",
    "asset": "one task's file is a 404",
    "pathway": "one task's agent names an unknown pathway",
    "refused": "one label row of a bundle is refused",
    "save-503": "saves are answered 503 for 12 s",
    "initialise-500": "the first initialise of label rows is answered 500, once",
    "move-dropped": "the connection is dropped after a move was done",
    "interrupt": "Ctrl-C after 150 calls",
    "kill": "kill -9 after 150 calls, then a second run",
    "all-fail": "every agent call raises",
}
AGENTS = Path(__file__).with_name("agents.py")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--python", default=sys.executable, help="the interpreter that has the library to measure")
    parser.add_argument("cases", nargs="*", default=list(CASES), metavar="case", help=", ".join(CASES))
    arguments = parser.parse_args()
    print("| trouble | exit code | moved | labels saved | agent calls | seconds |")
    print("|---|---|---|---|---|---|")
    for case in arguments.cases:
        print(measure(arguments.python, case), flush=True)


def measure(python: str, case: str) -> str:
    """One row of the table."""
    workflow = Workflow([AgentStage("Work", {"done": "Done"}), Stage("Done", "done")])
    with LocalPlatform() as platform, tempfile.TemporaryDirectory() as directory:
        project = platform.create_project(workflow=workflow)
        hashes = project.add_placeholders(TASKS)
        calls = Path(directory) / "calls"
        calls.touch()
        arrange(case, platform, project, hashes[BAD])
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("ENCORD_", "PYTHON"))}
        environment |= {
            **platform.environment(),
            "RELIABILITY_CASE": case,
            "RELIABILITY_BAD": hashes[BAD],
            "RELIABILITY_PROJECT": project.project_hash,
            "RELIABILITY_CALLS": str(calls),
        }

        def run(then: Callable[[subprocess.Popen[bytes]], None] | None = None) -> int:
            process = subprocess.Popen(
                [python, str(AGENTS)],
                env=environment,
                cwd=directory,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            if then is not None:
                while process.poll() is None and len(calls.read_text().split()) < INTERRUPT_AFTER:
                    time.sleep(0.01)
                then(process)
            return process.wait(300)

        started = time.monotonic()
        if case == "interrupt":
            code = run(lambda process: process.send_signal(signal.SIGINT))
        elif case == "kill":
            run(lambda process: process.kill())
            code = run()
        else:
            code = run()
        seconds = time.monotonic() - started
        moved = project.stage("Done").tasks
        saved = sum(project.saves(data_hash) > 0 for data_hash in hashes)
        made = len(calls.read_text().split())
        return f"| {CASES[case]} | {code} | {moved} | {saved} | {made} | {seconds:.0f} |"


def arrange(case: str, platform: LocalPlatform, project: LocalProject, bad: str) -> None:
    """Have the platform do what the case is about."""
    match case:
        case "asset":
            project.break_asset(bad, "missing")
        case "refused":
            project.refuse_row(bad)
        case "save-503":
            threading.Thread(target=_refuse_saves, args=(platform, 12.0), daemon=True).start()
        case "initialise-500":
            platform.faults.add(Fault("label_create"))
        case "move-dropped":
            platform.faults.add(Fault("actions", action="drop_after"))


def _refuse_saves(platform: LocalPlatform, seconds: float) -> None:
    """From the first save on, for so many seconds."""
    platform.faults.add(Fault("save", times=None, status=503))
    while not platform.journal.count("save"):
        time.sleep(0.01)
    time.sleep(seconds)
    platform.faults.clear()


if __name__ == "__main__":
    main()
