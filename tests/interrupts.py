"""An interrupt between any two steps of a thread, for tests of what is left behind by one."""

from __future__ import annotations

import dis
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any, NoReturn, TypeAlias

__all__ = ["Interrupter", "Place", "exiting_on_sigterm", "interrupt"]

Place: TypeAlias = tuple[str, str, int]
"""Where a checkpoint is: its file, its function, and the offset of its instruction."""

OURS = ("/tasks/engine/", "/tasks/runner/", "/core/dependencies/", "/core/assets.py", "/core/fetching.py")
THEIRS = ("threading.py", "/concurrent/futures/", "contextlib.py")
"""Modules of the standard library that are no better protected."""
CHECKPOINTS = frozenset({"CALL", "CALL_FUNCTION_EX", "CALL_KW", "RESUME", "JUMP_BACKWARD", "SEND", "YIELD_VALUE"})
"""After these, and only after these, does Python look whether a signal has come."""


def interrupt(*_: object) -> NoReturn:
    """Raise what Python's own handler of Ctrl-C raises."""
    raise KeyboardInterrupt


def leave(*_: object) -> NoReturn:
    sys.exit(143)


@contextmanager
def exiting_on_sigterm() -> Iterator[Callable[..., NoReturn]]:
    """Have a handler of SIGTERM that exits, as programs have one of their own, and yield it."""
    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield leave
    finally:
        signal.signal(signal.SIGTERM, before)


class Interrupter:
    """Raises `KeyboardInterrupt` in this thread, as a signal handler would.

    Args:
        at: The place, which is interrupted when it is first reached. ``None``: none, but all places are noted. Only the
            function of a given place is traced, and only until then: tracing costs more than what is traced.
        handler: Raises another exception in its place.

    Attributes:
        places: The place of each checkpoint, once, in the order in which they were reached: unlike numbers, these are
            the same however long a loop waits. Without `at` only.
        where: Where the interrupt was raised; empty if it was not.
    """

    def __init__(self, at: Place | None, handler: Callable[..., NoReturn] = interrupt) -> None:
        self.at = at
        self._handler_called = handler
        self.places: dict[Place, None] = {}
        self.where = ""
        self._owners: dict[CodeType, bool | None] = {}
        """True if a function is ours; ``None``: theirs, so that it depends on the caller."""
        self._operations: dict[CodeType, dict[int, str]] = {}
        self._handlers: dict[CodeType, list[Any]] = {}
        self._before: dict[FrameType, int] = {}

    def __enter__(self) -> Interrupter:
        self._outer = sys.gettrace()
        # Python 3.12 has opcodes traced only if some frame asked for it before.
        sys._getframe().f_trace_opcodes = True
        sys.settrace(self._enter)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._outer)
        self._before.clear()

    def _enter(self, frame: FrameType, event: str, _: object) -> Any:
        code = frame.f_code
        if self.where or (self.at is not None and (code.co_filename, code.co_qualname) != self.at[:2]):
            return None
        if not self._may_be_interrupted(frame):
            return None
        frame.f_trace = self._step  # Python 3.13 has opcodes traced only in frames that have a function for it already
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._step

    def _may_be_interrupted(self, frame: FrameType | None) -> bool:
        """Of theirs, what ours call: not what the SDK calls, nor finalizers, in which Python ignores what is raised."""
        while frame is not None:
            if frame.f_code not in self._owners:
                name = frame.f_code.co_filename
                ours = "encord_agents" in name and any(part in name for part in OURS)
                self._owners[frame.f_code] = ours or (None if any(part in name for part in THEIRS) else False)
            if (ours := self._owners[frame.f_code]) is not None:
                return ours
            frame = frame.f_back
        return False

    def _step(self, frame: FrameType, event: str, _: object) -> Any:
        if event == "return":
            self._before.pop(frame, None)
        if event != "opcode":
            return self._step
        here, before = frame.f_lasti, self._before.get(frame)
        self._before[frame] = here
        if before is None or not self._is_checkpoint(frame.f_code, before, here):
            return self._step
        place = (frame.f_code.co_filename, frame.f_code.co_qualname, here)
        self.places.setdefault(place)
        if self.at == place and not self.where:
            self.where = f"{name_of(frame)} < {name_of(frame.f_back)}"
            self._handler_called()
        return self._step

    def _is_checkpoint(self, code: CodeType, before: int, here: int) -> bool:
        if code not in self._operations:
            self._operations[code] = {step.offset: step.opname for step in dis.get_instructions(code)}
            self._handlers[code] = list(dis._parse_exception_table(code))  # type: ignore[attr-defined]
        if self._operations[code].get(before) not in CHECKPOINTS:
            return False
        # Python would raise it at the operation before, so whoever handles that one must be who handles this one.
        return self._handler(code, before) == self._handler(code, here)

    def _handler(self, code: CodeType, offset: int) -> object:
        return next((entry.target for entry in self._handlers[code] if entry.start <= offset < entry.end), None)


def name_of(frame: FrameType | None) -> str:
    return "" if frame is None else f"{frame.f_code.co_qualname}:{frame.f_lineno}"
