"""`make bench-editor`: requests to editor agents a second, ours and those of `encord-agents` 0.2.10."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import platform
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from benchmarks.measure import HERE, Side, clean_environment, ours, peer
from benchmarks.platform_process import PlatformProcess

PAGE = HERE.parent / "docs" / "editor_agents.md"
BEGIN, END = "<!-- Written by make bench-editor. -->\n", "<!-- The end of it. -->\n"
ROWS = 500
TICKS = os.sysconf("SC_CLK_TCK")
BETWEEN = 0.05
"""Seconds between the callers' connections, as people come: all at once, one process of several would take them all."""


@dataclass(frozen=True)
class Case:
    """What is measured.

    Attributes:
        agent: A path of `editor_agent.py`.
        concurrency: Requests at the same time, each as soon as the one before it is answered.
        workers: Processes of the server.
        rows: Label rows that the requests are about, in turn.
        latency: Seconds before each answer of the platform.
    """

    agent: str
    concurrency: int
    workers: int = 1
    rows: int = ROWS
    latency: float = 0.0


@dataclass(frozen=True)
class Measured:
    """What came of it.

    Attributes:
        per_second: Requests that were answered 200.
        latencies: Of each of them, in seconds.
        refused: Requests that were told to try again.
        asked: Requests to the platform for each of them.
        cpu: Processor milliseconds for each of them: of the server, the platform, and whoever sends them.
        labels: The labels that are there, for each request that was answered 200; ``None`` where none are saved.
    """

    per_second: float
    latencies: Sequence[float]
    refused: int
    asked: float
    cpu: Sequence[float]
    labels: float | None


CASES = (
    Case("nothing", 8),
    Case("look", 8),
    Case("box", 1),
    Case("box", 8),
    Case("box", 32),
    Case("box", 8, workers=2),
    Case("box", 8, rows=1),
    Case("box", 16, latency=0.03),
)


def measure(side: Side, case: Case, seconds: float) -> Measured:
    """Run a server and a platform in processes of their own, and call one for a while."""
    with ExitStack() as stack:
        platform_ = stack.enter_context(PlatformProcess(case.rows, latency=case.latency, latency_per_item=0.0))
        server = stack.enter_context(_serving(side, platform_, case.workers))
        hashes = platform_.data_hashes()
        bodies = [
            json.dumps({"projectHash": platform_.project, "dataHash": data_hash, "frame": 0}).encode()
            for data_hash in hashes
        ]
        # As in the editor: labels were opened before. Then connections are open, too, and code is warm.
        asyncio.run(_load(server.port, replace(case, agent="look"), bodies, requests=len(bodies)))
        asyncio.run(_load(server.port, case, bodies, seconds=1.0))
        before = _counted(server, platform_)
        statuses, latencies, taken = asyncio.run(_load(server.port, case, bodies, seconds=seconds))
        after = _counted(server, platform_)
    done = statuses.count(200)
    if other := {*statuses} - {200, 409}:
        raise RuntimeError(f"{side.name}, {case}: answered {sorted(other)}.")
    asked, boxes, *cpu = [now - then for now, then in zip(after, before, strict=True)]
    return Measured(
        done / taken,
        latencies,
        len(statuses) - done,
        asked / len(statuses),
        [1000 * part / len(statuses) for part in cpu],
        boxes / done if case.agent == "box" else None,
    )


def _counted(server: _Server, platform_: PlatformProcess) -> tuple[float, ...]:
    """Return what is counted before and after: requests, labels, and processor seconds of the three processes."""
    seconds = _cpu(server.pid), _cpu(platform_.pid), time.process_time()
    return sum(platform_.requests().values()), platform_.boxes(), *seconds


@dataclass(frozen=True)
class _Server:
    pid: int
    port: int


@contextmanager
def _serving(side: Side, platform_: PlatformProcess, workers: int) -> Iterator[_Server]:
    environment = {**clean_environment(), **platform_.environment}
    if side.source:
        environment["PYTHONPATH"] = str(side.source)
    environment["PYTHONPATH"] = os.pathsep.join([str(HERE), *filter(None, [environment.get("PYTHONPATH")])])
    # As each is documented: 0.2.10 has no command of its own.
    serve = ["-m", "encord_agents.cli.main", "serve"] if side.name == "ours" else ["-m", "uvicorn", "--no-access-log"]
    command = [str(side.python.absolute()), *serve, "editor_agent:app", "--port", "0"]
    options: dict[str, Any] = {"cwd": tempfile.gettempdir(), "stderr": subprocess.PIPE, "text": True}
    options["stdout"] = subprocess.DEVNULL
    with subprocess.Popen([*command, "--workers", str(workers)], env=environment, **options) as process:
        assert process.stderr is not None
        lines = []
        ready, port = 0, 0
        for line in process.stderr:
            lines.append(line)
            if "running on" in line:
                port = int(line.split("running on ")[1].split()[0].rpartition(":")[2])
            ready += "startup complete" in line
            if port and ready == workers:
                break
        else:
            raise RuntimeError(f"{side.name}: the server has ended.\n{''.join(lines)[-4000:]}")
        reading = threading.Thread(target=process.stderr.read, daemon=True)
        reading.start()
        try:
            yield _Server(process.pid, port)
        finally:
            process.terminate()
            reading.join()


async def _load(
    port: int, case: Case, bodies: Sequence[bytes], *, seconds: float = float("inf"), requests: int | None = None
) -> tuple[list[int], list[float], float]:
    """Call an agent, for a while or a number of times.

    Returns:
        Statuses, latencies of what was answered 200, and the seconds that passed.
    """
    statuses: list[int] = []
    latencies: list[float] = []
    turn = itertools.islice(itertools.cycle(bodies), requests)
    connections = []
    for _ in range(case.concurrency):
        connections.append(await asyncio.open_connection("127.0.0.1", port))
        await asyncio.sleep(BETWEEN)
    began = time.perf_counter()

    async def caller(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for body in turn:
            if time.perf_counter() - began >= seconds:
                break
            head = (
                f"POST /{case.agent} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n\r\n"
            )
            sent = time.perf_counter()
            writer.write(head.encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            lines = answer.decode("latin-1").lower().split("\r\n")
            length = next(int(line.split(":")[1]) for line in lines if line.startswith("content-length:"))
            await reader.readexactly(length)
            statuses.append(int(lines[0].split()[1]))
            if statuses[-1] == 200:
                latencies.append(time.perf_counter() - sent)
        writer.close()

    await asyncio.gather(*(caller(*connection) for connection in connections))
    return statuses, latencies, time.perf_counter() - began


def _cpu(pid: int) -> float:
    """Return the processor seconds of a process and its children, the living and the dead."""
    total = 0.0
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += sum(int(field) for field in fields[11:15]) / TICKS
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (OSError, ValueError):
        return total
    return total + sum(_cpu(int(child)) for child in children)


def table(results: Sequence[tuple[Case, dict[str, Measured]]]) -> str:
    """Return the results as Markdown."""
    lines = [
        "| agent | at once | servers | library | a second | median | 95 % | asked of the platform | "
        "ms of processor: server, platform, caller | labels |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for case, sides in results:
        about = f"`/{case.agent}`" + (", one row" if case.rows == 1 else "")
        about += f", {case.latency * 1000:.0f} ms a request" if case.latency else ""
        for name, one in sides.items():
            late = quantiles(one.latencies, n=20)[-1] if len(one.latencies) > 1 else one.latencies[0]
            labels = "" if one.labels is None else f"{one.labels:.0%} there"
            refused = f", {one.refused} told to try again" if one.refused else ""
            lines.append(
                f"| {about} | {case.concurrency} | {case.workers} | {name} | {one.per_second:.0f} | "
                f"{1000 * median(one.latencies):.0f} ms | {1000 * late:.0f} ms | {one.asked:.1f} | "
                f"{', '.join(f'{part:.1f}' for part in one.cpu)} | {labels}{refused} |"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.editor", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="for each measurement")
    parser.add_argument(
        "--only", type=int, action="append", metavar="N", help="only this case, from 0; may be repeated"
    )
    parser.add_argument("--ours", action="store_true", help="leave the other library out")
    parser.add_argument("--peer", type=Path, default=HERE.parent / ".venv-peer", help="its virtual environment")
    options = parser.parse_args()
    sides = [ours()] if options.ours else [ours(), _with_fastapi(peer(options.peer))]
    load = os.getloadavg()[0]
    results = []
    for number, case in enumerate(CASES):
        if options.only and number not in options.only:
            continue
        measured = {side.name: measure(side, case, options.seconds) for side in sides}
        results.append((case, measured))
        print(table(results[-1:]).splitlines()[2:], flush=True)
    print(table(results))
    if options.only or options.ours:
        return
    where = (
        f"{os.cpu_count()} processors, Python {platform.python_version()}, {options.seconds:.0f} s each, and a load of "
        f"{load:.0f} from other programs.\n\n"
    )
    page = PAGE.read_text()
    before, _, rest = page.partition(BEGIN)
    PAGE.write_text(before + BEGIN + where + table(results) + END + rest.partition(END)[2])


def _with_fastapi(side: Side) -> Side:
    """Return the peer, with what its door needs."""
    if subprocess.run([str(side.python), "-c", "import fastapi, uvicorn"], capture_output=True, check=False).returncode:
        subprocess.run([str(side.python), "-m", "pip", "install", "--quiet", "fastapi", "uvicorn"], check=True)
    return side


if __name__ == "__main__":
    main()
