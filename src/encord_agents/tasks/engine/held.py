"""An agent's own saves of labels and priority, held from the call until they are sent."""

from __future__ import annotations

import pickle
import threading
from dataclasses import dataclass
from typing import Any

from encord.exceptions import EncordException
from encord.objects import LabelRowV2

from encord_agents.core.sdk import (
    Parcel,
    Send,
    entrust,
    hear_of_strangers,
    in_part_of,
    new_bundle,
    packed,
    sent_priorities,
)
from encord_agents.core.tracebacks import is_a
from encord_agents.tasks.engine.gate import Gate
from encord_agents.tasks.engine.label_check import find_oddity, make_plain, refuse_partial

__all__ = ["Contents", "Held", "send_together"]


@dataclass(frozen=True, slots=True)
class Contents:
    """The content to be sent: the last of several saves, and the last of several priorities.

    Attributes:
        row: The row of the labels, in its current state.
    """

    labels: Parcel | None = None
    row: LabelRowV2 | None = None
    priority: Parcel | None = None

    def __bool__(self) -> bool:
        return self.labels is not None or self.priority is not None

    def or_else(self, older: Contents) -> Contents:
        """Return these contents, with missing parts taken from older ones."""
        newer = self if self.labels is not None else older
        return Contents(newer.labels, newer.row, self.priority or older.priority)

    def without(self, parcel: Parcel) -> Contents:
        """Return these contents without one part."""
        labels = None if self.labels is parcel else self.labels
        return Contents(labels, self.row, None if self.priority is parcel else self.priority)


NOTHING = Contents()


class Held:
    """The own saves of one task's agent, over all its attempts. The task's label row is entrusted to it.

    While an attempt runs, `save` and `set_priority` are checked, kept and return at once; outside attempts, and if
    nothing is to be bundled, they are the SDK's own. Safe for the threads of an agent.

    Attributes:
        refused: The platform's refusal of a save that was sent while the agent ran. Nothing is held after that.
        sent: True if anything was sent while the agent ran, so that the labels' last save may be the agent's.
        with_result: True if the held contents are sent with the task's result.
        oddity: A probable mistake in the labels.
        seconds: The seconds that the agent waited for requests of its own that could have been bundled.
    """

    def __init__(self, gate: Gate, *, bundled: bool, dry_run: bool = False) -> None:
        self._gate = gate
        self._bundled = bundled
        self._dry_run = dry_run
        self._open = False
        self._contents = NOTHING
        self._label_hash: str | None = None
        self._function = ""
        self._lock = threading.Lock()
        self._sending = threading.Lock()  # so that earlier saves are sent first
        self.refused: Exception | None = None
        self.sent = False
        self.with_result = False
        self.oddity: str | None = None
        self.seconds = 0.0

    def __bool__(self) -> bool:
        return bool(self._contents)

    def begin(self, row: LabelRowV2 | None, in_part: object, function: str) -> None:
        """Begin an attempt.

        Args:
            in_part: The state of a row that was loaded in part.
            function: The agent's name.
        """
        if row is None:
            return
        self._label_hash = row.label_hash
        self._function = function
        entrust(row, self, in_part)
        self._open = True
        if self._bundled and not self._dry_run:
            hear_of_strangers(self, self.send)

    def end(self) -> None:
        """End the attempt. Wait for saves that are being sent."""
        if not self._open:
            return
        hear_of_strangers(self, None)
        with self._sending, self._lock:
            self._open = False

    # Called by the row, or a copy of it, in any thread

    def save(self, row: LabelRowV2, send: Send) -> None:
        """Check the row's labels, and hold them in their current state."""
        if not (self._bundled and self._open) or row.label_hash != self._label_hash:
            self._send_now(send)
            return
        refuse_partial(row, in_part_of(row), f"{self._function}() saved")
        parcel = packed(send)
        labels = parcel.payload.payload
        for label in labels:
            make_plain(label)
            self.oddity = self.oddity or find_oddity(label)
        # A copy, since the SDK's serialised labels share parts with the row, which the agent may go on to change.
        labels[:] = pickle.loads(pickle.dumps(labels))
        self._hold(Contents(labels=parcel, row=row), send)

    def set_priority(self, row: LabelRowV2, send: Send) -> None:
        """Check the row's priority, and hold it."""
        if not (self._bundled and self._open):
            self._send_now(send)
            return
        parcel = packed(send)
        parcel.payload.priorities[:] = sent_priorities(parcel.payload.priorities)
        self._hold(Contents(priority=parcel), send)

    def _hold(self, contents: Contents, send: Send) -> None:
        with self._lock:
            if (is_open := self._open) and self.refused is None:
                self._contents = contents.or_else(self._contents)
        if not is_open:  # the attempt has ended meanwhile
            send()

    def _send_now(self, send: Send) -> None:
        started = self._gate.clock()
        try:
            send()
        finally:
            if self._open:
                self.sent = True
                self.seconds += self._gate.clock() - started

    # Sending

    # Contents are released only after they were sent: an interrupt may come between any two steps, and sending them
    # again does no harm.

    @property
    def contents(self) -> Contents:
        """The contents held at present."""
        return self._contents

    def let_go(self, sent: Parcel | None = None) -> None:
        """Release a part unless a newer one is held; without an argument, release everything."""
        with self._lock:
            self._contents = NOTHING if sent is None else self._contents.without(sent)

    def send(self) -> None:
        """Send the held contents, waiting out outages. A refusal is kept until the attempt is over.

        Raises:
            OutageError, NoRoomError, CertificateError, Leaving: As `Gate.call`. Unsent contents are still held.
        """
        if self._dry_run:
            return
        with self._sending:  # even if nothing is held: another thread may be sending it
            contents = self._contents
            for parcel, kind in ((contents.labels, "save"), (contents.priority, "priorities")):
                if parcel is not None:
                    self._ask(parcel, kind)
                    self.let_go(parcel)

    def _ask(self, parcel: Parcel, kind: str) -> None:
        self.sent = True
        try:
            self._gate.call(lambda: send_together([parcel]), kind=kind)
        except Exception as error:
            if not is_a(error, EncordException):  # no answer: it was cut off, or this machine failed
                raise
            self.refused = self.refused or error


def send_together(parcels: list[Parcel]) -> Any:
    """Send the parcels of several rows, in one request for each kind."""
    bundle = new_bundle()
    for parcel in parcels:
        parcel.add_to(bundle)
    bundle.execute()
