"""`runner.run()` belongs to scripts. Kernels are imitated: a main module without a file, and a kernel's arguments."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest
from tests import preloaded

from encord_agents.exceptions import PrintableError
from encord_agents.tasks import QueueRunner, Runner

RUN = "from encord_agents.tasks import Runner; Runner().run()\n"


def ended(*arguments: str, code: str | None = None, imported: bool = True) -> subprocess.CompletedProcess[str]:
    """A program that has ended. If it begins with its imports done, pytest is one of them."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, *arguments]
    run = preloaded.run if imported else subprocess.run
    return run(command, capture_output=True, text=True, env=environment, input=code, check=False)


def test_in_a_test_runner() -> None:
    """Its arguments are not read, and it is not ended."""
    with pytest.raises(PrintableError, match=r"Call the runner instead.* runner\(project_hash="):
        Runner().run()
    with pytest.raises(PrintableError, match=r"Call the runner instead.* runner\.drain\(executor="):
        QueueRunner(uuid4()).run()


@pytest.mark.parametrize("module", ["ipykernel", "IPython", None])
def test_in_a_kernel(module: str | None) -> None:
    """A cell, also one that has replaced the arguments, is told what to call; no `SystemExit` ends the host."""
    modules = f"sys.modules[{module!r}] = types.ModuleType({module!r})" if module else ""
    for argv in (["/lib/ipykernel_launcher.py", "-f", "kernel.json"], ["x"]):
        # VS Code's interactive window says which file its cells are from.
        file = "__file__ = 'explore.py'\n" if module == "ipykernel" else ""
        set_up = f"import sys, types\n{modules}\nsys.argv = {argv!r}\n{file}"
        code = f"{set_up}try:\n    {RUN}except ValueError as e:\n    print(e)\n"
        told = ended("-c", code)
        assert told.returncode == 0, told.stderr
        assert ("the notebook's" if module else "the host program's") in told.stdout


def test_in_scripts(tmp_path: Path) -> None:
    """Scripts, modules, ``-c`` and standard input have their command line, under a test runner as well."""
    script = tmp_path / "agents.py"
    script.write_text(RUN)
    for told in (
        ended(str(script), "--help"),
        ended("-c", RUN, "--help", imported=False),
        ended("-", "--help", code=RUN, imported=False),
    ):
        assert told.returncode == 0, told.stderr
        assert "--project-hash" in told.stdout
