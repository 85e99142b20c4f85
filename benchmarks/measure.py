"""One measurement: a fresh platform, a fresh process, one run over all tasks."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.network import Network
from benchmarks.platform_process import PlatformProcess

HERE = Path(__file__).parent
PEER = "encord-agents==0.2.10"
MEGABYTE = 1e6


@dataclass(frozen=True)
class Case:
    """A measurement.

    Attributes:
        agent: A name of `benchmarks.agents.AGENTS`, or ``drained``.
        agent_seconds: How long each call of the agent sleeps, or computes.
        options: Arguments for the runner's call.
        round_trip: Seconds to the platform and back, with TLS. 0: it is on this machine, without.
    """

    agent: str
    tasks: int = 1000
    agent_seconds: float = 0.0
    latency: float = 0.03
    latency_per_item: float = 0.0005
    options: Mapping[str, Any] = field(default_factory=dict)
    round_trip: float = 0.0


@dataclass(frozen=True)
class Measurement:
    """The result.

    Attributes:
        seconds: Around the runner's call.
        process_seconds: From the start of the process to its end.
        cpu: Processor seconds of the client during the runner's call.
        in_agents: Seconds that agents slept, added up.
        peak: Bytes of memory at most.
        requests: By kind.
        connections: How many were opened to the platform, where there is a network to count them.
        file_connections: How many for its files.
    """

    seconds: float
    process_seconds: float
    cpu: float
    in_agents: float
    peak: float
    requests: Mapping[str, int]
    connections: int = 0
    file_connections: int = 0


@dataclass(frozen=True)
class Side:
    """One of the two libraries: an interpreter that has it, or a directory where it is."""

    name: str
    python: Path
    source: Path | None = None

    def measure(self, case: Case) -> Measurement:
        """Run a case once.

        Raises:
            RuntimeError: The run failed, or did not move all tasks.
        """
        with contextlib.ExitStack() as stack:
            platform = stack.enter_context(
                PlatformProcess(case.tasks, latency=case.latency, latency_per_item=case.latency_per_item)
            )
            network = None
            way: dict[str, str] = {}
            if case.round_trip:
                network = stack.enter_context(Network(platform.environment["ENCORD_DOMAIN"], case.round_trip))
                platform.files_from(network.domain)
                way = {"ENCORD_DOMAIN": network.domain, "REQUESTS_CA_BUNDLE": str(network.trust)}
            directory = stack.enter_context(tempfile.TemporaryDirectory())
            result = Path(directory) / "result.json"
            environment = {
                **clean_environment(),
                **platform.environment,
                **way,
                "BENCH_SCENARIO": case.agent,
                "BENCH_PROJECT": platform.project,
                "BENCH_AGENT_SECONDS": str(case.agent_seconds),
                "BENCH_ADDITIONS": str(additions_per_second()),
                "BENCH_OPTIONS": json.dumps(dict(case.options)),
                "BENCH_RESULT": str(result),
            }
            started = time.perf_counter()
            ended = self.run([str(HERE / "agents.py")], environment)
            process_seconds = time.perf_counter() - started
            moved = platform.in_stage("Done")
            if ended.returncode or moved != case.tasks:
                raise RuntimeError(
                    f"{self.name}, {case}: exit code {ended.returncode}, {moved} tasks moved.\n{ended.stderr[-4000:]}"
                )
            measured = json.loads(result.read_text())
            connections, file_connections = network.connections() if network else (0, 0)
            return Measurement(
                **measured,
                process_seconds=process_seconds,
                requests=platform.requests(),
                connections=connections,
                file_connections=file_connections,
            )

    def run(self, arguments: list[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.python.absolute()), *arguments],
            env={**environment, **({"PYTHONPATH": str(self.source)} if self.source else {})},
            cwd=tempfile.gettempdir(),
            capture_output=True,
            text=True,
            check=False,
        )

    def time(self, arguments: list[str], environment: Mapping[str, str]) -> float:
        """Seconds that a process takes.

        Raises:
            RuntimeError: It failed.
        """
        started = time.perf_counter()
        ended = self.run(arguments, {**clean_environment(), **environment})
        taken = time.perf_counter() - started
        if ended.returncode:
            raise RuntimeError(f"{self.name}: {' '.join(arguments)}\n{ended.stderr[-4000:]}")
        return taken


@functools.cache
def additions_per_second() -> float:
    """Measure the work of an interpreter that has a processor to itself."""
    best = 0.0
    for _ in range(10):
        started = time.perf_counter()
        for _ in range(5_000):
            sum(range(1000))
        best = max(best, 5_000_000 / (time.perf_counter() - started))
    return best


def typical(measurements: list[Measurement]) -> Measurement:
    """The median of each number."""
    return Measurement(
        **{
            name: median(getattr(m, name) for m in measurements)
            for name in ("seconds", "process_seconds", "cpu", "in_agents", "peak")
        },
        requests=measurements[0].requests,
        connections=max(m.connections for m in measurements),
        file_connections=max(m.file_connections for m in measurements),
    )


def ours() -> Side:
    """This library, as it is here, whichever one is installed for the interpreter that runs this."""
    return Side("ours", Path(sys.executable), HERE.parent / "src")


def peer(directory: Path) -> Side:
    """The peer in a virtual environment of its own, made here if it is not there."""
    python = directory / "bin" / "python"
    marker = directory / ".installed-peer"
    if not marker.exists() and not _has_peer(python):
        print(f"Installing {PEER} into {directory} (a minute, this once) ...", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(directory)], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, f"encord-agents[vision]=={PEER.partition('==')[2]}"], check=True)
        marker.touch()
    return Side("peer", python)


def _has_peer(python: Path) -> bool:
    query = "import importlib.metadata as m; print(m.version('encord-agents'))"
    if not python.exists():
        return False
    ended = subprocess.run([str(python), "-c", query], capture_output=True, text=True, check=False)
    return ended.stdout.strip() == PEER.partition("==")[2]


def clean_environment() -> dict[str, str]:
    """Ours, without what would lead to another platform or another library."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("ENCORD_", "PYTHON", "BENCH_"))}
