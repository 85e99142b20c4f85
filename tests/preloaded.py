"""Python processes that begin with the imports done, for tests whose subject is what a program does, not its start.

Importing the SDK and this library takes a second or two of processor time, and the tests start hundreds of programs.
Here one process imports everything once, and forks for each program: what runs in the fork is a process of its own, a
child of the test's process, with its own environment, streams, working directory, session and exit code. Use `run` and
`Popen` as those of `subprocess`, `spawning` for the worker processes that a test's own process starts, and `commands`
for what shells and other programs start.

A test of the interpreter's own start, of its streams, of limits, or of what is imported when, uses `subprocess` itself,
and so do all where there is no Linux.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import fcntl
import gc
import importlib
import io
import json
import multiprocessing.process
import multiprocessing.util
import os
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import types
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

__all__ = ["Popen", "commands", "run", "spawning"]

MODULES = (
    *("encord_agents.cli.main", "encord_agents.cli.runner", "encord_agents.core.settings", "encord_agents.tasks"),
    *("encord_agents.terminal.log", "encord_agents.terminal.progress", "encord_agents.terminal.tables"),
    *("rich.console", "rich.live", "rich.markdown", "rich.panel", "rich.progress", "rich.table", "typer.rich_utils"),
    *("encord_agents.local.platform", "anyio._backends._asyncio", "uvicorn.protocols.http.auto", "uvicorn.loops.auto"),
    *("celery.bin.celery", "celery.bin.worker", "encord_agents.integrations.celery", "pytest", "PIL.PngImagePlugin"),
    *("encord_agents.fastapi", "encord_agents.fastapi.dependencies"),
)
AVAILABLE = sys.platform == "linux"
SET_CHILD_SUBREAPER = 36
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
HIGH = 500
"""File descriptors that are passed on are kept from here on until they get their numbers."""


class Popen(subprocess.Popen[Any]):
    """As `subprocess.Popen`, for Python programs: ``[sys.executable, ...]``, or an installed Python script.

    Of the interpreter's options, ``-W`` and ``-X`` are known; there is no ``preexec_fn`` and no ``shell``.

    Args:
        spawning: Whether the processes that the program spawns begin with the imports done, too.
    """

    def __init__(self, arguments: Sequence[Any], *, spawning: bool = False, **options: Any) -> None:
        self._spawning = spawning
        super().__init__(arguments, **options)

    def _execute_child(self, *given: Any) -> None:
        if not AVAILABLE:
            super()._execute_child(*given)  # type: ignore[misc]
            return
        arguments, executable, preexec, _, pass_fds, cwd, env, _, _, shell = given[:10]
        pipes, (*_, new_session, _) = given[10:16], given[16:]
        if executable or preexec or shell:
            raise ValueError("only programs in Python can be started with the imports done")
        stdin, stdout, stderr = (
            own if theirs == -1 else theirs for own, theirs in enumerate((pipes[0], pipes[3], pipes[5]))
        )
        self.pid = _start(
            [os.fspath(argument) for argument in arguments],
            {0: stdin, 1: stdout, 2: stderr} | {number: number for number in pass_fds},
            cwd=cwd,
            env=env,
            new_session=new_session,
            spawning=self._spawning,
        )
        self._child_created = True
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]


def run(
    arguments: Sequence[str | os.PathLike[str]],
    *,
    input: Any = None,
    capture_output: bool = False,
    timeout: float | None = None,
    check: bool = False,
    **options: Any,
) -> subprocess.CompletedProcess[Any]:
    """As `subprocess.run`."""
    if input is not None:
        options["stdin"] = subprocess.PIPE
    if capture_output:
        options |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with Popen(arguments, **options) as process:
        try:
            output, errors = process.communicate(input, timeout=timeout)
        except BaseException:
            process.kill()
            raise
    done = subprocess.CompletedProcess(arguments, process.returncode, output, errors)
    if check:
        done.check_returncode()
    return done


@contextlib.contextmanager
def spawning() -> Iterator[None]:
    """Have processes that `multiprocessing` spawns meanwhile begin with the imports done."""
    if not AVAILABLE:
        yield
        return
    before = multiprocessing.util.spawnv_passfds  # type: ignore[attr-defined]
    multiprocessing.util.spawnv_passfds = _spawn  # type: ignore[attr-defined]
    try:
        yield
    finally:
        multiprocessing.util.spawnv_passfds = before  # type: ignore[attr-defined]


@contextlib.contextmanager
def commands(folder: Path, *scripts: str) -> Iterator[Path]:
    """Make a directory with ``python``, and scripts that pip has installed, which begin with the imports done.

    Args:
        folder: Where it is made.
        scripts: The names of the scripts.
    """
    folder.mkdir()
    interpreter = Path(sys.executable)
    if not AVAILABLE:
        for name in ("python", *scripts):
            (folder / name).symlink_to(interpreter.with_name(name))
        yield folder
        return
    place = tempfile.TemporaryDirectory()  # a socket's path has to be short
    address = str(Path(place.name) / "socket")
    for name in ("python", *scripts):
        command = folder / name
        program = interpreter if name == "python" else interpreter.with_name(name)
        command.write_text(f"#!{interpreter} -IS\nADDRESS, PROGRAM = {address!r}, {str(program)!r}\n{COMMAND}")
        command.chmod(0o700)
    with place, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        threading.Thread(target=_serve_commands, args=(listener,), daemon=True).start()
        yield folder
        listener.shutdown(socket.SHUT_RDWR)


COMMAND = """
import json, os, signal, socket, struct, sys
connection = socket.socket(socket.AF_UNIX)
connection.connect(ADDRESS)
content = json.dumps([[PROGRAM, *sys.argv[1:]], os.getcwd(), dict(os.environ)]).encode()
socket.send_fds(connection, [struct.pack("I", len(content))], [0, 1, 2])
connection.sendall(content)
(pid,) = struct.unpack("i", connection.recv(4))
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, lambda number, _: os.kill(pid, number))
(code,) = struct.unpack("i", connection.recv(4))
if code < 0:
    signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
os._exit(code)
"""
"""Stands for a program: has it started, hands signals on to it, and ends as it ends."""


def _serve_commands(listener: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the listener was shut down
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_serve_command, args=(connection,), daemon=True).start()


def _serve_command(connection: socket.socket) -> None:
    with connection:
        head, fds, _, _ = socket.recv_fds(connection, 4, 3)
        arguments, cwd, env = json.loads(_read(connection, *struct.unpack("I", head)))
        pid = _start(arguments, dict(enumerate(fds)), cwd=cwd, env=env, spawning=True)
        for fd in fds:
            os.close(fd)
        connection.sendall(struct.pack("i", pid))
        ended = os.pidfd_open(pid)
        if ended not in select.select([connection, ended], [], [])[0]:  # who stands for it was killed
            os.kill(pid, signal.SIGKILL)
        os.close(ended)
        _, status = os.waitpid(pid, 0)
        with contextlib.suppress(OSError):
            connection.sendall(struct.pack("i", os.waitstatus_to_exitcode(status)))


# In the process that starts others

_spawnv_passfds = multiprocessing.util.spawnv_passfds  # type: ignore[attr-defined]


def _spawn(path: Any, arguments: Sequence[Any], fds: Sequence[int]) -> int:
    if "--multiprocessing-fork" not in arguments:  # the tracker of resources
        return int(_spawnv_passfds(path, arguments, fds))
    return _start([os.fsdecode(one) for one in arguments], {number: number for number in (0, 1, 2, *fds)})


_lock = threading.Lock()
_forker: socket.socket | None = None
"""Of the process that forks for this one."""


def _connected() -> socket.socket:
    """Return the socket of the process that forks, started now if there is none; it ends when its socket is closed."""
    global _forker
    if _forker is None:
        _forker, its = socket.socketpair()
        with its:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.preloaded", str(its.fileno())],
                pass_fds=[its.fileno()],
                cwd=Path(__file__).parent.parent,
                env={name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"},
            )
        atexit.register(process.wait)
        atexit.register(_forker.close)
    return _forker


def _start(
    arguments: list[str],
    fds: dict[int, int],
    *,
    cwd: Any = None,
    env: Any = None,
    new_session: bool = False,
    spawning: bool = False,
) -> int:
    """Start a program.

    Args:
        fds: Which of our file descriptors it gets, by the numbers that they have there.

    Returns:
        Its process id. It is a child of this process.
    """
    wanted = {
        "arguments": arguments,
        "fds": list(fds),
        "cwd": os.fspath(cwd or os.getcwd()),
        "env": {os.fsdecode(name): os.fsdecode(value) for name, value in (os.environ if env is None else env).items()},
        "new_session": new_session,
        "spawning": spawning,
        "blocked": [int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, ())],
        "ignored": [int(number) for number in signal.Signals if signal.getsignal(number) is signal.SIG_IGN],
    }
    content = json.dumps(wanted).encode()
    with _lock:
        forker = _connected()
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        try:
            socket.send_fds(forker, [struct.pack("I", len(content))], list(fds.values()))
            forker.sendall(content)
            (pid,) = struct.unpack("i", _read(forker, 4))
        finally:
            libc.prctl(SET_CHILD_SUBREAPER, 0, 0, 0, 0)
    return int(pid)


def _read(sock: socket.socket, number: int) -> bytes:
    read = b""
    while len(read) < number:
        more = sock.recv(number - len(read))
        if not more:
            raise EOFError("the process that forks has ended")
        read += more
    return read


# In the process that forks


def _serve(sock: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Fork for each program that is asked for. Returns in the fork: with what it is, and its file descriptors."""
    while True:
        head, fds, _, _ = socket.recv_fds(sock, 4, 64)
        if not head:
            return None
        wanted = json.loads(_read(sock, *struct.unpack("I", head)))
        reading, writing = os.pipe()
        if (between := os.fork()) == 0:
            # The parent of a process whose parent has ended is the nearest one that asked for it: the test's.
            if (pid := os.fork()) != 0:
                os.write(writing, struct.pack("i", pid))
                os._exit(0)
            os.close(reading)
            os.close(writing)
            sock.close()
            return wanted, fds
        os.waitpid(between, 0)
        sock.sendall(os.read(reading, 4))
        for fd in (reading, writing, *fds):
            os.close(fd)


def _become(wanted: dict[str, Any], fds: list[int]) -> None:
    """Turn the fork into what an interpreter is that has just been started so."""
    if wanted["new_session"]:
        os.setsid()
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, HIGH) for fd in fds]
    for fd in fds:
        os.close(fd)
    for fd, number in zip(high, wanted["fds"], strict=True):
        os.dup2(fd, number)
        os.close(fd)
    os.chdir(wanted["cwd"])
    os.environ.clear()
    os.environ.update(wanted["env"])
    multiprocessing.process.ORIGINAL_DIR = wanted["cwd"]  # type: ignore[attr-defined]
    for number in SIGNALS:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    for number in wanted["ignored"]:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, wanted["blocked"])
    encoding, _, errors = os.environ.get("PYTHONIOENCODING", "").partition(":")
    sys.stdin = sys.__stdin__ = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), encoding or "utf-8")  # type: ignore
    sys.stdout = sys.__stdout__ = _stream(1, encoding, errors or "strict")  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = _stream(2, encoding, "backslashreplace")  # type: ignore[misc]
    for one in filter(None, os.environ.get("PYTHONWARNINGS", "").split(",")):
        warnings.simplefilter(one)  # type: ignore[arg-type]


def _stream(number: int, encoding: str, errors: str) -> io.TextIOWrapper:
    raw = io.FileIO(number, "w", closefd=False)
    unbuffered = bool(os.environ.get("PYTHONUNBUFFERED"))
    binary: Any = raw if unbuffered else io.BufferedWriter(raw)
    line_buffering = not unbuffered and (number == 2 or raw.isatty())
    stream = io.TextIOWrapper(
        binary, encoding or "utf-8", errors, write_through=unbuffered, line_buffering=line_buffering
    )
    stream.mode = "w"  # type: ignore[attr-defined]
    return stream


def _fork_forker() -> socket.socket | None:
    """Have a fork of this program, in which nothing has happened yet, be who forks for it.

    Returns:
        In that fork, its socket; ``None`` in the program.
    """
    global _forker
    ours, its = socket.socketpair()
    if os.fork() == 0:
        ours.close()
        for number in SIGNALS:  # which are for the program, and reach all of its group
            signal.signal(number, signal.SIG_IGN)
        return its
    its.close()
    _forker = ours
    multiprocessing.util.spawnv_passfds = _spawn  # type: ignore[attr-defined]
    return None


def _interpret(arguments: list[str]) -> None:
    """Do what ``python ...`` does with these arguments."""
    program, *rest = arguments
    if program != sys.executable:  # a script that pip has installed
        rest = arguments
    while rest[0].startswith("-") and rest[0] not in ("-c", "-m"):
        if rest[0] == "-W":
            warnings.simplefilter(rest[1])  # type: ignore[arg-type]
        elif rest[0].startswith("-W"):
            warnings.simplefilter(rest[0][2:])  # type: ignore[arg-type]
        rest = rest[2:] if rest[0] in ("-W", "-X") else rest[1:]  # the others are this process's, too
    name, *after = rest
    path = [*filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)), *sys.path[1:]]
    module = sys.modules["__main__"] = types.ModuleType("__main__")
    module.__spec__ = None
    if name == "-m":
        sys.argv, sys.path = after, [os.getcwd(), *path]
        sys.modules.pop(after[0], None)
        runpy._run_module_as_main(after[0])  # type: ignore[attr-defined]
        return
    if name == "-c":
        sys.argv, sys.path = ["-c", *after[1:]], ["", *path]
        code = compile(after[0], "<string>", "exec")
    else:
        sys.argv, sys.path = [name, *after], [os.path.dirname(os.path.abspath(name)), *path]
        module.__file__ = name
        code = compile(Path(name).read_bytes(), name, "exec")
    exec(code, module.__dict__)


def _main() -> None:
    for module in MODULES:
        with contextlib.suppress(ImportError):  # an extra that is not installed
            importlib.import_module(module)
    gc.collect()
    gc.freeze()
    forking: socket.socket | None = socket.socket(fileno=int(sys.argv[1]))
    while forking is not None and (program := _serve(forking)) is not None:
        wanted, fds = program
        _become(wanted, fds)
        forking = _fork_forker() if wanted["spawning"] else None
        if forking is None:
            _interpret(wanted["arguments"])


if __name__ == "__main__":
    _main()
