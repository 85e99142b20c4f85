"""The scripts of docs/howto/containers.md stop cleanly: as PID 1, where this machine has namespaces for users."""

from __future__ import annotations

import functools
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import World

PAGE = Path(__file__).parent.parent.parent / "docs" / "howto" / "containers.md"
SCRIPTS = {
    name: code
    for code in re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    for name in re.findall(r"\A# (\w+)\.py$", code, re.MULTILINE)
}
TASKS = 300
AS_PID_1 = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]
AFTER = 60.0

# What the test's agent does in the place of the page's "...": it says that it has begun, and waits until it may go on.
WAITS = """
    import pathlib, time
    begun = pathlib.Path(f"begun-{label_row.data_hash}")
    begun.touch()
    while begun.exists():
        time.sleep(0.01)
"""


@functools.cache
def namespaces() -> bool:
    """Return True if this machine lets a user have a process that is PID 1."""
    try:
        return subprocess.run([*AS_PID_1, "true"], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


def started(world: World, folder: Path, name: str) -> tuple[subprocess.Popen[str], int]:
    """A script of the page, and the process to send signals to."""
    code = SCRIPTS[name].replace("    ...  # your model\n", WAITS).replace('"review"', '"complete"')
    (folder / f"{name}.py").write_text(code, encoding="utf-8")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ENCORD_")}
    environment |= world.platform.environment() | {
        "PROJECT_HASH": world.project.project_hash,
        "PYTHONWARNINGS": "ignore",
    }
    script = subprocess.Popen(
        [*(AS_PID_1 if namespaces() else []), sys.executable, f"{name}.py"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    pid = script.pid
    deadline = time.monotonic() + AFTER
    while namespaces() and pid == script.pid and time.monotonic() < deadline:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        pid = int(children[0]) if children else pid
    return script, pid


def test_every_script_of_the_page_is_run() -> None:
    """The scripts tested here are those of the page."""
    assert set(SCRIPTS) == {"agents", "drain_agents"}
    assert len(re.findall(r"^```python$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)) == len(SCRIPTS)


@pytest.mark.parametrize("name", ["agents", "drain_agents"])
def test_sigterm(world: World, tmp_path: Path, name: str) -> None:
    """The tasks at work are finished and moved, no computed one is lost, exit code 143."""
    world.project.add_placeholders(TASKS)
    script, pid = started(world, tmp_path, name)
    done = 0
    deadline = time.monotonic() + AFTER
    while script.poll() is None and time.monotonic() < deadline:
        begun = list(tmp_path.glob("begun-*"))
        if done >= 5 and len(begun) == (2 if name == "drain_agents" else 1):  # all that can be at work at a time
            break
        if done < 5:
            for file in begun:
                file.unlink()
                done += 1
        time.sleep(0.01)
    os.kill(pid, signal.SIGTERM)
    while script.poll() is None and time.monotonic() < deadline + AFTER:
        for file in tmp_path.glob("begun-*"):
            file.unlink()
            done += 1
        time.sleep(0.01)
    if script.poll() is None:
        os.killpg(script.pid, signal.SIGKILL)
    output = script.communicate()[0]
    assert script.returncode == 143, output
    assert world.count("Done") == done < TASKS, output
    assert "Stopped early: terminated" in output
