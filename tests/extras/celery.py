"""With ``celery`` alone: a worker takes what is sent through a Redis, and marks are kept there.

Without a ``redis-server`` on this machine only what needs none is tried.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from celery import Celery
from encord.objects import LabelRowV2

from encord_agents.integrations.celery import register
from encord_agents.tasks import QueueRunner

runner = QueueRunner("3f2504e0-4f89-11d3-9a0c-0305e82c3301")


@runner.stage("Pre-label")
def agent(row: LabelRowV2) -> str:
    return row.data_title


app = register(runner, Celery("alone", broker=os.environ.get("BROKER", "memory://")))
app.conf.result_backend = os.environ.get("BROKER")


@app.task
def double(number: int) -> int:
    return 2 * number


def through(url: str) -> None:
    """Have a worker do something, and look at how the stage stands."""
    environment = os.environ | {"BROKER": url, "ENCORD_DOMAIN": "http://127.0.0.1:9"}
    begin = [sys.executable, "-m", "celery", "-A", "tests.extras.celery", "worker", "-P", "solo", "-l", "WARNING"]
    worker = subprocess.Popen(begin, env=environment)
    try:
        send = "from tests.extras.celery import double; assert double.delay(21).get(timeout=100) == 42"
        subprocess.run([sys.executable, "-c", send], env=environment, check=True)
    finally:
        worker.terminate()
        worker.wait(60)
    keep = (
        "from tests.extras.celery import app\n"
        "from encord_agents.integrations.celery.adapter import adapter_of\n"
        "adapter = adapter_of(app)\n"
        "assert adapter.is_shared\n"
        "assert adapter.in_flight.claim('q', ['a', 'b'], 60) == [True, True]\n"
        "assert adapter.in_flight.claim('q', ['a', 'b'], 60) == [False, False]\n"
        "adapter.at_work.begin('q', ['a'], redelivered=False, sure=False)\n"
        "adapter.at_work.end('q', ['a'])\n"
    )
    subprocess.run([sys.executable, "-c", keep], env=environment, check=True)


if __name__ == "__main__":
    tool = [sys.executable, "-m", "encord_agents.cli.main", "celery"]
    subprocess.run([*tool, "--help"], check=True, stdout=subprocess.DEVNULL)
    if (program := shutil.which("redis-server")) is not None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        folder = Path(tempfile.mkdtemp())
        redis = subprocess.Popen(
            [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)],
            stdout=subprocess.DEVNULL,
        )
        try:
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except OSError:
                    time.sleep(0.05)
            through(f"redis://127.0.0.1:{port}/0")
        finally:
            redis.terminate()
            redis.wait()
