"""Detection of host programs, whose command line is not the script's: notebooks, test runners, embedded Pythons."""

from __future__ import annotations

import sys
from pathlib import PurePath

from encord_agents.exceptions import PrintableError
from encord_agents.tasks.runner.typed_in import main_file

__all__ = ["NOTEBOOK", "check_host", "host"]

NOTEBOOK = "the notebook"

TEST_RUNNERS = frozenset({"pytest", "py.test", "_pytest", "unittest"})


def check_host(instead: str) -> None:
    """Check that the process's arguments are the script's, and that the script may end the process.

    Args:
        instead: The call to make otherwise.

    Raises:
        PrintableError: They belong to a host program. The message names the call to make instead.
    """
    if (found := host()) is not None:
        raise PrintableError(
            "runner.run() is a script's command line: it reads the process's arguments and ends the process. "
            f"Here both are {found}'s.\nCall the runner instead, with options as arguments: {instead}"
        )


def host() -> str | None:
    """Return the program that owns the arguments and the process, in words; ``None`` if they are a script's."""
    file = main_file()
    first = sys.argv[0] if sys.argv else ""
    if "_pytest" in sys.modules and (_is_of_test_runner(file) or (file is None and first == "-c")):
        return "the test runner"  # the workers of pytest-xdist are started with -c
    if _is_of_test_runner(file):
        return "the test runner"
    if file is not None or first in ("-c", "-"):  # %run of IPython makes the script __main__, and its arguments argv
        return None
    if "ipykernel" in sys.modules or "IPython" in sys.modules:
        return NOTEBOOK
    return "the interpreter" if first == "" else "the host program"


def _is_of_test_runner(file: str | None) -> bool:
    if file is None:
        return False
    path = PurePath(file)
    return path.stem in TEST_RUNNERS or (path.stem == "__main__" and path.parent.name in TEST_RUNNERS)
