"""The Celery example does what its README says, command by command."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests import preloaded
from tests.brokers import PATIENCE, answers, until
from tests.ports import free_port
from tests.thorough import THOROUGH

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "examples" / "celery"
README = (EXAMPLE / "README.md").read_text(encoding="utf-8")

ALL_PICTURES = '"$PICTURES"/*.{gif,jpg,png,tif}'
SOME_PICTURES = (
    '"$PICTURES"/{no_time_for_that_tiny.gif,rocket.jpg,multipage.tif,horse.png,chessboard_GRAY.png,microaneurysms.png,'
    "astronaut.png,coins.png,page.png,text.png,moon.png,phantom.png}"
)
"""Of each kind some, in more than one batch."""
PICTURES = ALL_PICTURES if THOROUGH else SOME_PICTURES

pytestmark = pytest.mark.timeout(600)


def blocks() -> dict[str, list[str]]:
    """The commands of each section, as they are typed."""
    sections = re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL)
    found = {title: re.findall(r"^\$ (.+)$", text, re.MULTILINE) for title, text in sections if "```console" in text}
    assert sum(map(len, found.values())) == len(re.findall(r"^\$ ", README, re.MULTILINE))
    assert ALL_PICTURES in README
    return found


class Terminals:
    """Shells in a copy of the example, beside the files it uses. Ports are the test's own, and it polls more often."""

    def __init__(self, folder: Path, commands: Path) -> None:
        self.here = folder / "celery"
        shutil.copytree(EXAMPLE, self.here, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(EXAMPLE.parent / "workflow.yaml", folder)
        self.platform, self.redis = free_port(), free_port()
        agents = self.here / "agents.py"
        code = agents.read_text(encoding="utf-8").replace("6379", str(self.redis))
        agents.write_text(code.replace("poll_every=5", "poll_every=1"), encoding="utf-8")
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ENCORD_")},
            "PATH": f"{commands}:{os.environ['PATH']}",
            "COLUMNS": "100",
            "NO_COLOR": "1",
        }

    def script(self, commands: list[str]) -> list[str]:
        lines = [
            command.replace("local create", f"local create --port {self.platform}")
            .replace("local up", f"local up --port {self.platform}")
            .replace("redis-server", f"redis-server --port {self.redis} --bind 127.0.0.1")
            .replace(ALL_PICTURES, PICTURES)
            for command in commands
        ]
        return ["bash", "-c", "\n".join(["set -euo pipefail", *lines[:-1], f"exec {lines[-1]}"])]

    def run(self, commands: list[str]) -> str:
        """Type commands that end; what they print."""
        done = subprocess.run(
            self.script(commands),
            cwd=self.here,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @contextmanager
    def running(self, commands: list[str], name: str) -> Iterator[subprocess.Popen[bytes]]:
        """Type commands of which the last goes on until it is ended with Ctrl-C."""
        with open(self.here / f"{name}.log", "wb") as out:
            process = subprocess.Popen(
                self.script(commands),
                cwd=self.here,
                env=self.environment,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        try:
            yield process
            process.send_signal(signal.SIGINT)
            process.wait(PATIENCE)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def moved(self, stage: str) -> int:
        """How many tasks of a stage were moved, by the worker's log."""
        return sum(map(int, re.findall(rf" {stage}: (\d+) moved", self.log("worker"))))

    def log(self, name: str) -> str:
        return (self.here / f"{name}.log").read_text(encoding="utf-8")


def numbers(printed: str) -> dict[str, list[int]]:
    """For each stage of ``celery status``: waiting, in flight, done, failed."""
    found = re.findall(r"^\W*(Pre-label|Triage)\W+(\d+)\W+(\d+)\W+(\d+)\W+(\d+)", printed, re.MULTILINE)
    return {stage: [int(number) for number in rest] for stage, *rest in found}


def test_the_readme_of_the_example(tmp_path: Path) -> None:
    """From an empty directory to labelled photographs: what is sent, what is in flight, and what is done."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed (Debian's package: redis-server)")
    pytest.importorskip("skimage", reason="scikit-image is not installed: the `demo` extra")
    install, *_ = blocks().values()
    assert install[-1] == "pip install '.[celery,demo]'"
    with preloaded.commands(tmp_path / "bin", "encord-agents", "celery") as commands:
        follow(Terminals(tmp_path, commands))


def follow(terminals: Terminals) -> None:
    """Type the commands of the README."""
    _, project, broker, sending, workers, seeing = blocks().values()
    with (
        terminals.running(project, "platform"),
        terminals.running(broker, "redis"),
    ):
        assert until(lambda: answers(terminals.platform) and answers(terminals.redis)), terminals.log("platform")
        printed = terminals.run(sending)
        (sent,) = re.findall(r"^(\d+) tasks sent\.$", printed, re.MULTILINE)
        pictures = int(sent)
        assert pictures > 10  # a batch
        assert numbers(printed) == {"Pre-label": [0, pictures, 0, 0], "Triage": [0, 0, 0, 0]}
        with terminals.running(workers, "worker"):
            assert until(lambda: terminals.moved("Triage") == pictures), terminals.log("worker")
        printed = terminals.run(seeing)
        done = [0, 0, pictures, 0]
        assert numbers(printed) == {"Pre-label": done, "Triage": done}
        left = dict(re.findall(r"(Review|Complete)\W+\w+\W+(\d+)", printed))
        assert sum(map(int, left.values())) == pictures
        assert all(map(int, left.values()))
