"""The local platform in a process of its own, so that it takes no processor time from what is measured."""

from __future__ import annotations

import json
import subprocess
import sys
from types import TracebackType
from typing import Any, Self

WORKFLOW = {
    "stages": [
        {"title": "Work", "type": "agent", "pathways": {"done": "Done"}},
        {"title": "Done", "type": "done"},
    ]
}


class PlatformProcess:
    """A platform with one project of small pictures, all waiting in the stage ``Work``.

    Args:
        tasks: How many pictures.
        latency: Seconds before each answer, files' too.
        latency_per_item: Further seconds for each thing in a request.
    """

    def __init__(self, tasks: int, *, latency: float = 0.0, latency_per_item: float = 0.0) -> None:
        settings = {"tasks": tasks, "latency": latency, "latency_per_item": latency_per_item}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.platform_process", json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            ready = self._answer()
        except BaseException:
            self.close()
            raise
        self.project: str = ready["project"]
        self.environment: dict[str, str] = ready["environment"]

    def requests(self) -> dict[str, int]:
        """Return the number of requests, by kind."""
        return dict(self._ask("requests"))

    def in_stage(self, title: str) -> int:
        """Return the number of tasks in a stage."""
        return int(self._ask("in_stage", title))

    @property
    def pid(self) -> int:
        return self._process.pid

    def data_hashes(self) -> list[str]:
        """The data hashes of all tasks."""
        return [str(found) for found in self._ask("data_hashes")]

    def boxes(self) -> int:
        """How many objects the labels have, of all rows together."""
        return int(self._ask("boxes"))

    def files_from(self, domain: str) -> None:
        """Have files' addresses be at this domain, from which they are handed on to this process."""
        self._ask("files_from", domain)

    def down(self, down: bool) -> None:
        """Begin or end an outage: connections are dropped."""
        self._ask("down", down)

    def add(self, tasks: int) -> None:
        """More tasks in the stage ``Work``."""
        self._ask("add", tasks)

    def close(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()  # which ends it
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, *command: Any) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("The platform's process has ended; see what it said above.")
        return json.loads(line)


def serve(settings: dict[str, Any]) -> None:
    """Serve, and answer one command a line on stdin, until it is closed."""
    from encord_agents.local import LocalPlatform

    with LocalPlatform(
        latency=settings["latency"], latency_per_item=settings["latency_per_item"], journal_body=0
    ) as platform:
        project = platform.create_project(workflow=WORKFLOW)
        project.add_placeholders(settings["tasks"])
        answer: Any = {"project": project.project_hash, "environment": platform.environment()}
        while True:
            print(json.dumps(answer), flush=True)
            line = sys.stdin.readline()
            if not line:
                return
            answer = None
            match json.loads(line):
                case ["requests"]:
                    answer = platform.journal.kinds()
                case ["in_stage", title]:
                    answer = project.stage(title).tasks
                case ["data_hashes"]:
                    answer = [task.data_hash for task in project.tasks()]
                case ["boxes"]:
                    labels = filter(None, (project.label(task.data_hash) for task in project.tasks()))
                    answer = sum(
                        len(unit["labels"].get("objects", ()))
                        for label in labels
                        for unit in label["data_units"].values()
                    )
                case ["files_from", domain]:
                    platform._service.domain = domain
                case ["down", down]:
                    platform.down(down)
                case ["add", tasks]:
                    project.add_placeholders(tasks)


if __name__ == "__main__":
    serve(json.loads(sys.argv[1]))
