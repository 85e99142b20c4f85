"""The tests with every Python there is, and with the oldest libraries that are allowed.

``nox -l`` lists the sessions; ``nox -s tests-3.12 -- tests/unit -k retry`` runs some tests in one of them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

import nox

nox.needs_version = ">=2025.5"
nox.options.default_venv_backend = "uv|venv"
nox.options.reuse_existing_virtualenvs = True
nox.options.tags = ["tests"]

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
CORE = (
    "tests/unit",
    "tests/test_public_api.py",
    "tests/acceptance/test_bounds.py",
    "tests/acceptance/test_command_line.py",
    "tests/acceptance/test_drivers.py",
    "tests/acceptance/test_failure_pathway.py",
    "tests/acceptance/test_interrupts.py",
    "tests/acceptance/test_queue_function.py",
    "tests/acceptance/test_runner_attempts.py",
    "tests/acceptance/test_runner_errors.py",
    "tests/acceptance/test_runner_returns.py",
    "tests/acceptance/test_runner_set_up.py",
    "tests/acceptance/test_runner_writing.py",
    "tests/acceptance/test_stopping.py",
    "tests/acceptance/test_workers.py",
)
"""What is run by default: where another Python, or another library, is likely to show. The rest is ``-- tests``."""
QUICK = (
    "tests/unit/core",
    "tests/unit/tasks/engine",
    "tests/test_public_api.py",
    "tests/acceptance/test_certificates.py",
    "tests/acceptance/test_command_line.py",
    "tests/acceptance/test_drivers.py",
    "tests/acceptance/test_failure_pathway.py",
    "tests/acceptance/test_runner_attempts.py",
    "tests/acceptance/test_runner_errors.py",
    "tests/acceptance/test_runner_returns.py",
    "tests/acceptance/test_runner_set_up.py",
    "tests/acceptance/test_runner_writing.py",
)
"""Of these, what takes two or three minutes: ``-- quick``. .ci/run does it twice: newest Python, lowest versions."""
PARALLEL = ("-n", "3", "--dist", "worksteal")


def interpreters() -> dict[str, str]:
    """Return the path of each Python there is, by version.

    pyenv's are found too where its shims do not lead to them.
    """
    roots = [Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"]
    found: dict[str, str] = {}
    for version in PYTHONS:
        candidates = [shutil.which(f"python{version}")]
        candidates += sorted(str(path) for root in roots for path in root.glob(f"{version}.*/bin/python"))
        if version == f"{sys.version_info.major}.{sys.version_info.minor}":
            candidates.insert(0, sys.executable)
        for candidate in filter(None, candidates):
            said = subprocess.run([candidate, "-V"], capture_output=True, text=True, check=False)
            if said.returncode == 0 and said.stdout.startswith(f"Python {version}."):
                found[version] = candidate
                break
    return found


FOUND = interpreters()


def chosen(session: nox.Session) -> list[str]:
    """Return pytest's arguments: those that were given, or what is run by default."""
    if session.posargs == ["quick"]:
        return [*QUICK]
    return [*(session.posargs or CORE)]


def tests(session: nox.Session) -> None:
    """Run the tests with the versions in constraints.txt."""
    session.install("--constraint", "constraints.txt", "--editable", ".[dev]")
    session.run("python", "-m", "pytest", *PARALLEL, *chosen(session))


NEWEST = next(reversed(FOUND), None)
"""The version that .ci/run takes beside the Python at hand."""
for _version, _path in FOUND.items():
    # The Python at hand is what `make test` runs, and with all tests.
    _tags = [] if _path == sys.executable else ["tests", "ci"] if _version == NEWEST else ["tests"]
    nox.session(tests, python=_path, name=f"tests-{_version}", tags=_tags)


if NEWEST is None or FOUND[NEWEST] == sys.executable:

    @nox.session(python=False, tags=["ci"])
    def newest(session: nox.Session) -> None:
        """Say that there is no newer Python to run some tests with."""
        session.skip(f"no Python newer than {sys.version_info.major}.{sys.version_info.minor}, up to {PYTHONS[-1]}")


PROJECT = tomllib.loads(Path("pyproject.toml").read_text())["project"]


def floors(extras: Iterable[str]) -> list[str]:
    """Return the lowest versions that pyproject.toml allows of what the library and those extras need."""
    needs = [*PROJECT["dependencies"], *(need for name in extras for need in PROJECT["optional-dependencies"][name])]
    return sorted({need.replace(">=", "==") for need in needs if ">=" in need})


@nox.session(python=next(iter(FOUND.values()), None), tags=["tests", "ci"])
def lowest(session: nox.Session) -> None:
    """Run the tests with the lowest version that pyproject.toml allows of each library that users get."""
    extras = ["vision", "pdf", "local", "celery", "fastapi", "gcp"]
    # The lowest FastAPI does not go with a Starlette that the local platform, and so every test, needs: see `extras`.
    pins = floors(name for name in extras if name != "fastapi")
    tools = ("hypothesis", "pytest", "pytest-timeout", "pytest-xdist")
    pinned = [line for line in Path("constraints.txt").read_text().splitlines() if line.partition("==")[0] in tools]
    session.install("--editable", f".[{','.join(extras)}]", *pins, *pinned)
    # Where a library's dependencies are newer than itself, it may warn; and what only developers install is not there.
    environment = {"PYTHONWARNINGS": "ignore", "ENCORD_AGENTS_FORBID_SKIPS": ""}
    session.run("python", "-m", "pytest", *PARALLEL, "-W", "default", *chosen(session), env=environment)


@nox.session(python=next(iter(FOUND.values()), None), tags=["tests"])
@nox.parametrize("versions", ["newest", "lowest"])
@nox.parametrize("extra", ["none", "vision", "pdf", "local", "celery", "fastapi", "gcp", "aws", "compat"])
def extras(session: nox.Session, extra: str, versions: str) -> None:
    """Install each extra alone, as users do, and run its main path: nothing it needs is there by chance."""
    named = [] if extra == "none" else [extra]
    session.install("--editable", f".[{extra}]" if named else ".", *(floors(named) if versions == "lowest" else []))
    session.run("python", "-m", f"tests.extras.{extra}", env={"PYTHONWARNINGS": "ignore", "PYTHONPATH": ""})


@nox.session(python=next(iter(FOUND.values()), None), tags=["ci"])
def compat(session: nox.Session) -> None:
    """Run the programs of tests/compat in two environments: 0.2.10 does what is recorded, and so does this library."""
    session.install("--constraint", "constraints.txt", "--editable", ".[compat,dev]")
    peer = Path(session.create_tmp()).absolute() / "encord-agents-0.2.10"
    python = peer / "bin" / "python"
    if not python.is_file():
        session.run("python", "-m", "venv", str(peer))
        # With newer versions of pydantic, its `OntologyDataModel` fails.
        needs = ("encord-agents[vision]==0.2.10", "fastapi", "functions-framework", "pillow", "pydantic<2.11")
        session.run(str(python), "-m", "pip", "install", "--quiet", *needs, external=True)
    session.run("python", "-m", "tests.compat.programs", str(python))
    session.run("git", "diff", "--exit-code", "tests/compat/results.json", external=True)
    session.run("python", "-m", "pytest", *PARALLEL, "tests/compat")


@nox.session
def lint(session: nox.Session) -> None:
    """Check the style."""
    session.install("--constraint", "constraints.txt", "ruff")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types, strictly."""
    session.install("--constraint", "constraints.txt", "--editable", ".[dev]")
    session.run("mypy")


@nox.session
def coverage(session: nox.Session) -> None:
    """Measure which lines and branches the tests reach, in threads and processes too."""
    session.install("--constraint", "constraints.txt", "--editable", ".[dev]")
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", *PARALLEL, *session.posargs)
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report")
