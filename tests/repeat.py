"""Runs all tests again and again, alone or beside busy processes, and lists what failed: ``make test-repeat``."""

from __future__ import annotations

import argparse
import collections
import contextlib
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)


@contextlib.contextmanager
def busy(number: int) -> Iterator[None]:
    """Keep so many processes busy meanwhile."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(number)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 if no run failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--busy", type=int, default=0, help="busy processes beside the tests")
    parser.add_argument("options", nargs="*", help="of pytest, after --")
    given = parser.parse_args(arguments)
    failures = collections.Counter[str]()
    bad = 0
    with busy(given.busy):
        for number in range(1, given.times + 1):
            started = time.monotonic()
            command = [sys.executable, "-m", "pytest", "-q", "--tb=short", *given.options]
            run = subprocess.run(command, capture_output=True, text=True, check=False)
            failed = FAILED.findall(run.stdout)
            failures.update(failed)
            bad += run.returncode != 0
            last = run.stdout.strip().splitlines()[-1:] or ["no output"]
            print(f"run {number}: {last[0].strip('= ')} ({time.monotonic() - started:.0f} s)", flush=True)
            if run.returncode != 0:
                # All that there is to know about a failure that may not come again; the dots before it say nothing.
                print(run.stdout[max(run.stdout.find("\n="), 0) :], flush=True)
    print(f"{bad} of {given.times} runs failed")
    for name, times in failures.most_common():
        print(f"{times:4} {name}")
    return 1 if bad else 0


if __name__ == "__main__":
    raise SystemExit(main())
