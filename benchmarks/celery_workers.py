"""One measurement on Celery: a fresh platform, a fresh Redis, some workers, and a stage that is emptied."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import redis
from celery import Celery
from tests.brokers import Redis

from benchmarks.measure import HERE, clean_environment
from benchmarks.platform_process import PlatformProcess

__all__ = ["Emptied", "empty_a_stage"]

PATIENCE = 300.0
FILLING = """
import time
import benchmarks.celery_app as agents
from encord_agents.integrations.celery import enqueue
agents.runner.get_agent_stages()
started = time.perf_counter()
enqueue(agents.app)
print(time.perf_counter() - started)
"""
TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Emptied:
    """The result.

    Attributes:
        per_second: Tasks moved in a second, between the first tenth and the last one: when all workers are at work.
        requests: To the platform, for each task.
        cpu: Processor seconds of the workers, for each task.
        broker: Commands that Redis was given, for each task.
        sent: Tasks that were read and sent to the queue, in a second.
    """

    workers: int
    batch: int
    agent_seconds: float
    latency: float
    per_second: float
    requests: float
    cpu: float
    broker: float
    sent: float


def empty_a_stage(tasks: int, *, workers: int, batch: int, agent_seconds: float, latency: float = 0.03) -> Emptied:
    """Fill a queue with a stage's tasks and wait until all have moved.

    Raises:
        RuntimeError: They did not.
    """
    with contextlib.ExitStack() as stack:
        platform = stack.enter_context(PlatformProcess(tasks, latency=latency, latency_per_item=latency / 60))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        broker = Redis(folder)
        broker.start()
        stack.callback(broker.stop)
        environment = {
            **clean_environment(),
            **platform.environment,
            "PYTHONPATH": os.pathsep.join([str(HERE.parent / "src"), str(HERE.parent)]),
            "BENCH_PROJECT": platform.project,
            "BENCH_AGENT_SECONDS": str(agent_seconds),
            "BENCH_BROKER": broker.url,
            "BENCH_BATCH": str(batch),
        }
        log = stack.enter_context(open(folder / "workers.log", "w"))
        at_work = [
            stack.enter_context(_process(["worker", "--concurrency", "1", "-n", f"w{n}@%h"], environment, log))
            for n in range(workers)
        ]
        with Celery(broker=broker.url) as app:
            _wait(lambda: len(app.control.ping(timeout=1)) == workers, folder)
        watch = redis.Redis(port=broker.port)
        stack.callback(watch.close)
        cpu, commands = sum(map(_cpu, at_work)), watch.info("stats")["total_commands_processed"]
        filler = subprocess.Popen(
            [sys.executable, "-c", FILLING],
            env=environment,
            cwd=HERE.parent,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        seen: list[tuple[float, int]] = []

        def emptied() -> bool:
            seen.append((time.perf_counter(), platform.in_stage("Done")))
            return seen[-1][1] == tasks

        try:
            _wait(emptied, folder)
        finally:
            sending = float(filler.communicate()[0] or 0)
        start = next(point for point in seen if point[1] >= tasks / 10)
        end = next(point for point in seen if point[1] >= tasks * 0.9)
        return Emptied(
            workers=workers,
            batch=batch,
            agent_seconds=agent_seconds,
            latency=latency,
            per_second=(end[1] - start[1]) / (end[0] - start[0]) if end[0] > start[0] else 0.0,
            requests=sum(platform.requests().values()) / tasks,
            cpu=(sum(map(_cpu, at_work)) - cpu) / tasks,
            broker=(watch.info("stats")["total_commands_processed"] - commands) / tasks,
            sent=tasks / sending,
        )


@contextlib.contextmanager
def _process(arguments: list[str], environment: dict[str, str], log: object):  # type: ignore[no-untyped-def]
    command = [sys.executable, "-m", "celery", "-A", "benchmarks.celery_app", *arguments]
    process = subprocess.Popen(command, env=environment, cwd=HERE.parent, stdout=log, stderr=log)  # type: ignore[call-overload]
    try:
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _cpu(pid: int) -> float:
    """Processor seconds of a process and its children."""
    total = 0.0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            if pid in (int(path.parent.name), int(fields[1])):
                total += (int(fields[11]) + int(fields[12])) / TICK
    return total


def _wait(condition, folder: Path) -> None:  # type: ignore[no-untyped-def]
    until = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > until:
            raise RuntimeError("The workers did not do it.\n" + (folder / "workers.log").read_text()[-4000:])
        time.sleep(0.02)
