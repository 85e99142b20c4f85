"""A storage host that is slow, or never ends an answer: other tasks move, and the first Ctrl-C ends the run."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests import preloaded
from tests.servers import answering
from tests.waiting import PATIENCE, until

if TYPE_CHECKING:
    from tests.conftest import World

AGENTS = """
import os
from pathlib import Path
from typing import Annotated

from encord.storage import StorageItem
from encord_agents.tasks import Depends, QueueRunner, Runner
from encord_agents.tasks.dependencies import dep_asset

signed = StorageItem.get_signed_url

def get_signed_url(self, refetch=False):
    # The file of one task is on a host that the test plays.
    return os.environ["TEST_HOST"] if self.name.startswith("file 2") else signed(self, refetch=refetch)

StorageItem.get_signed_url = get_signed_url
is_drain = os.environ["TEST_KIND"] == "drain"
runner = (QueueRunner if is_drain else Runner)(os.environ["TEST_PROJECT"])

@runner.stage("Pre-label")
def agent(path: Annotated[Path, Depends(dep_asset)]) -> str:
    return "complete"

if __name__ == "__main__":
    if is_drain:
        runner.drain(workers=2, progress="none")
    else:
        runner(progress="none")
"""

BEGINNINGS = {
    "silent": b"",
    "head": b"HTTP/1.1 200 OK\r\nX-Long: ",
    "chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;",
}


def dripping(beginning: bytes, over: threading.Event) -> Callable[[socket.socket], None]:
    """Return the behaviour of a host that begins an answer and never comes to its end."""

    def answer(connection: socket.socket) -> None:
        connection.sendall(beginning)
        while not over.wait(0.2):
            if beginning:
                connection.sendall(b"x")

    return answer


@pytest.mark.parametrize("kind", ["drain", "runner"])
@pytest.mark.parametrize("how", BEGINNINGS)
def test_one_slow_file(world: World, tmp_path: Path, how: str, kind: str) -> None:
    """The nine tasks whose files come move while one file does not; then one Ctrl-C is enough."""
    world.project.add_placeholders(10, title="file {index}")
    script, over = tmp_path / "agents.py", threading.Event()
    script.write_text(AGENTS)
    with answering(dripping(BEGINNINGS[how], over)) as host:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ENCORD_")},
            **world.platform.environment(),
            "TEST_PROJECT": world.project.project_hash,
            "TEST_KIND": kind,
            "TEST_HOST": host,
            "PYTHONWARNINGS": "ignore",
        }
        process = preloaded.Popen(
            [sys.executable, str(script)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            spawning=True,
        )
        try:
            assert until(lambda: world.count("Done") == 9 or process.poll() is not None)
            process.send_signal(signal.SIGINT)
            said, _ = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
            over.set()
    assert world.count("Done") == 9, said
    assert process.returncode == -signal.SIGINT, said
    assert "KeyboardInterrupt" in said
