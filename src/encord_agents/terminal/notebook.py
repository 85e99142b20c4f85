"""Live bars below a notebook's cell, in Jupyter, Colab, and anything else with an IPython kernel.

They are one output of the cell, replaced in place, so that a run of hours leaves one table in the notebook's file.
No widgets are needed.
"""

from __future__ import annotations

import contextlib
import contextvars
import logging
import sys
import threading
import time
from collections.abc import Callable, Mapping
from html import escape
from typing import Any, Protocol

from encord_agents.core.legible import cut, on_one_line
from encord_agents.core.tracebacks import described, formatted, is_a
from encord_agents.exceptions import PrintableError
from encord_agents.tasks.engine.events import Event, PassFinished, StageStarted, TaskFinished, TaskWouldWrite
from encord_agents.tasks.engine.outcome import Failed
from encord_agents.tasks.engine.report_html import COLOURS, error_html
from encord_agents.terminal.counting import (
    OUTCOMES,
    Counting,
    StageCounts,
    counts_text,
    done_text,
    pass_line,
    progress_text,
    times_text,
)
from encord_agents.terminal.log import WouldWrite, log_to_terminal

__all__ = ["NotebookProgress", "in_notebook"]

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_UPDATES = 0.5
CELL = 'style="text-align:left;padding:2px 10px 2px 0"'

Bundle = Mapping[str, str]
"""One output in several formats, by MIME type."""


class Show(Protocol):
    """Shows an output below the cell."""

    def __call__(self, bundle: Bundle, /) -> Callable[[Bundle], object]:
        """Show the output, and return a function that replaces it with another."""


class Fallback(Protocol):
    """A progress display for a kernel that cannot show HTML."""

    def __call__(self, event: Event, /) -> object: ...

    def close(self) -> None: ...


def in_notebook() -> bool:
    """Return True if this process is the kernel of a notebook; in IPython on a terminal it is not."""
    ipython: Any = sys.modules.get("IPython")  # a process with a kernel has imported it
    try:
        return getattr(ipython.get_ipython(), "kernel", None) is not None
    except AttributeError:
        return False


class NotebookProgress:
    """A table with a bar per stage below the cell, replaced twice a second while something changes.

    Args:
        fallback: Makes the display to use if the kernel cannot show this one.
        show: Shows an output. Default: IPython's.
        clock: A monotonic clock, in seconds.
        every: Seconds between two updates.
    """

    shown_as = "The progress display"

    def __init__(
        self,
        fallback: Callable[[], Fallback],
        *,
        show: Show | None = None,
        clock: Callable[[], float] = time.monotonic,
        every: float = SECONDS_BETWEEN_UPDATES,
    ) -> None:
        self._make_fallback = fallback
        self._fallback: Fallback | None = None
        self._show = show or _show
        self._every = every
        self._counting = Counting(clock)
        self._first_failure: tuple[str, str] | None = None
        self._last_pass = ""
        self._replace: Callable[[Bundle], object] | None = None
        self._shown: Bundle = {}
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        self._open = contextlib.ExitStack()

    def __call__(self, event: Event) -> None:
        if self._fallback is not None:
            self._fallback(event)
            return
        self._counting.count(event)
        match event:
            case TaskFinished(task=task, outcome=Failed(fault=fault)) if self._first_failure is None:
                where = (
                    f"The first failure: {task.data_title} ({task.uuid}) in {task.stage!r}, in phase {fault.phase}: "
                )
                # The traceback of a PrintableError would only show where in this library it was raised.
                trace = "" if is_a(fault.exception, PrintableError) else formatted(fault.exception)
                self._first_failure = on_one_line(where + described(fault.exception)), trace
            case StageStarted() if self._replace is None:
                self._start(event)
            case PassFinished() if event.number > 1 or event.next_in is not None:
                self._last_pass = pass_line(event)
            case TaskWouldWrite():
                WouldWrite()(event)
            case _:
                pass

    def close(self) -> None:
        """Draw the last state. May be called twice."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
            self._update()
        self._open.close()
        if self._fallback is not None:
            self._fallback.close()

    def _start(self, event: Event) -> None:
        try:
            self._replace = self._show(self.bundle())
        except Exception:  # the front end's fault must not end the run
            logger.debug("The notebook shows no bars.", exc_info=True)
            self._fallback = self._make_fallback()
            self._fallback(event)
            return
        if (handler := self._open.enter_context(log_to_terminal(brief=True))) is not None:
            handler.addFilter(_is_no_tasks_failure)
        # The kernel looks up an output's cell in the context, which a new thread does not inherit.
        self._thread = threading.Thread(
            target=contextvars.copy_context().run, args=(self._draw,), name="encord-agents-bars", daemon=True
        )
        self._thread.start()

    def _draw(self) -> None:
        while not self._closed.wait(self._every):
            self._update()

    def _update(self) -> None:
        bundle = self.bundle()
        if self._replace is not None and bundle != self._shown:
            self._shown = bundle
            with contextlib.suppress(Exception):  # the front end has disconnected: the run goes on
                self._replace(bundle)

    def bundle(self) -> Bundle:
        """Return the current state as a table, and as text for front ends that show no HTML."""
        now = self._counting.clock()
        # Copied at once: the run may add a stage while the thread of the bars draws.
        stages = tuple(self._counting.stages.values())
        lines = [f"{s.title}: {done_text(s)}; {counts_text(s)}; {times_text(s, now)}" for s in stages]
        rows = "".join(_row(stage, now) for stage in stages)
        table = f'<table style="border:none;margin:0"><tbody>{rows}</tbody></table>'
        if self._first_failure is not None:
            said, trace = self._first_failure
            lines.append(cut(said))
            table += f'<div style="color:{COLOURS["failed"]}">{error_html(said, trace)}</div>'
        if self._last_pass:
            lines.append(self._last_pass)
            table += f'<div style="opacity:.7">{escape(self._last_pass)}</div>'
        return {"text/html": table, "text/plain": "\n".join(lines)}


def _is_no_tasks_failure(record: logging.LogRecord) -> bool:
    """Return False for failures of tasks: the bars count them, the first is shown, and the report lists them."""
    return not (record.levelno >= logging.ERROR and hasattr(record, "task_uuid"))


def _row(stage: StageCounts, now: float) -> str:
    finished = stage.seconds is not None
    total = max(stage.seen, stage.done)
    value = f' value="{stage.done}" max="{total}"' if total else ' value="1" max="1"' if finished else ""
    counts = " ".join(
        f'<span style="color:{COLOURS[name]}">{n} {name}</span>' for name in OUTCOMES if (n := getattr(stage, name))
    )
    if finished and stage.all_seen and not stage.seen:
        counts = "no task"
    rate = f"{stage.rate(now):.1f}/s" if stage.done else ""
    cells = (
        escape(stage.title),
        f'<progress style="width:12em"{value}></progress>',
        progress_text(stage),
        counts,
        rate,
        times_text(stage, now),
    )
    return f'<tr style="background:none">{"".join(f"<td {CELL}>{cell}</td>" for cell in cells)}</tr>'


def _show(bundle: Bundle) -> Callable[[Bundle], object]:
    from IPython.display import display

    handle: Any = display(bundle, raw=True, display_id=True)  # type: ignore[no-untyped-call]
    if handle is None:
        raise RuntimeError("The kernel has no display that can be replaced.")
    return lambda other: handle.update(other, raw=True)
