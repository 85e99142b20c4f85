"""An agent's own saves of labels and priority, held from the call until they are sent."""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Callable, Iterable
from typing import Literal, TypeVar

from encord.exceptions import EncordException
from encord.objects import LabelRowV2

from encord_agents.core.logs import get_logger
from encord_agents.core.sdk.bundle import Parcel, new_bundle, packed, send_alone
from encord_agents.core.sdk.entrusted import Send, entrust, in_part_of, sent_priorities
from encord_agents.core.sdk.once import hear_of_strangers
from encord_agents.tasks.engine.gate import Gate
from encord_agents.tasks.engine.label_check import find_oddity, make_plain, refuse_partial

__all__ = ["KINDS", "Held", "Kind", "send_together", "validated_apart"]

logger = get_logger(__name__)

Kind = Literal["save", "priorities"]
KINDS: tuple[Kind, ...] = ("save", "priorities")
"""The kinds of requests that agents' own saves are sent with, in their order."""

T = TypeVar("T")


class Held:
    """The saves that one task's agent makes itself, over all its attempts. The task's label row is entrusted to it.

    While an attempt runs, `save` and `set_priority` check and keep their payload, and return at once. They are the
    SDK's own outside attempts, without bundling, and in child processes that the agent forks, since nothing comes back
    from these. Safe to use from the agent's threads.

    Saves are released only after they were sent: an interrupt may come between any two steps, and sending them again
    is idempotent.

    Args:
        bundled: Hold saves.
        dry_run: Send no saves at all.
        before: Called before held saves are sent while the agent runs. It may release them.

    Attributes:
        row: The row of the held labels, in its current state.
        refused: The refusal of a save that was to be sent before the task had a result. Nothing is held after that.
        sent: True if anything was sent while the agent ran, so that the labels' last save may be the agent's.
        with_result: True if the held parcels are sent with the task's result.
        superseded: The kinds of which a newer save was sent since the last attempt has ended.
        oddity: A probable mistake in the labels.
        seconds: The seconds that the agent waited for requests of its own that could have been bundled.
    """

    def __init__(
        self,
        gate: Gate,
        *,
        bundled: bool,
        dry_run: bool = False,
        before: Callable[[], None] = lambda: None,
    ) -> None:
        self._gate = gate
        self._bundled = bundled
        self._dry_run = dry_run
        self._before = before
        self._open = False
        self._process = os.getpid()
        self._parcels: dict[Kind, Parcel] = {}  # the last of several saves, and the last of several priorities
        self._label_hash: str | None = None
        self._function = ""
        self._lock = threading.Lock()  # for a few lines at a time, never while a request is in flight
        self._sending = threading.Lock()  # held while a request is in flight, so that earlier saves are sent first
        self._unsendable: Exception | None = None
        self.row: LabelRowV2 | None = None
        self.refused: Exception | None = None
        self.sent = False
        self.with_result = False
        self.superseded: frozenset[Kind] = frozenset()
        self.oddity: str | None = None
        self.seconds = 0.0

    def __bool__(self) -> bool:
        return bool(self._parcels)

    def parcel(self, kind: Kind) -> Parcel | None:
        """Return the held parcel of a kind."""
        return self._parcels.get(kind)

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
        self.superseded = frozenset()
        self._open = True
        if self._bundled and not self._dry_run:
            hear_of_strangers(self, self.send)

    def end(self) -> None:
        """End the attempt, once saves in flight are answered."""
        if not self._open:
            return
        hear_of_strangers(self, None)
        with self._sending, self._lock:
            self._open = False

    @property
    def _holds(self) -> bool:
        return self._bundled and self._open and (self._dry_run or self._process == os.getpid())

    def has_refused(self, exception: BaseException) -> bool:
        """Return True if an exception is the one that the agent got for labels that cannot be sent. An attempt that
        ends with it fails in phase ``save``, as if the agent had returned the labels."""
        return exception is self._unsendable

    # Called by the row, or a copy of it, in any thread

    def check(self, row: LabelRowV2) -> None:
        """Allow a save in a bundle of the agent's own."""

    def save(self, row: LabelRowV2, send: Send) -> None:
        """Check the row's labels, and hold them in their current state."""
        if row.label_hash != self._label_hash:
            self._send_now(send)
            return
        if not self._holds:
            self._send_now(send, "save")
            return
        try:
            parcel = self._checked(row, send)
        except Exception as error:
            self._unsendable = error
            raise
        self._hold("save", parcel, send, row)

    def _checked(self, row: LabelRowV2, send: Send) -> Parcel:
        refuse_partial(row, in_part_of(row), f"{self._function}() saved")
        parcel = packed(send)
        labels = parcel.payload.payload
        for label in labels:
            make_plain(label)
            self.oddity = self.oddity or find_oddity(label)
        # A copy, since the SDK's serialised labels share parts with the row, which the agent may continue to change.
        labels[:] = pickle.loads(pickle.dumps(labels))
        return parcel

    def set_priority(self, row: LabelRowV2, send: Send) -> None:
        """Check the row's priority, and hold it."""
        if not self._holds:
            self._send_now(send, "priorities")
            return
        parcel = packed(send)
        parcel.payload.priorities[:] = sent_priorities(parcel.payload.priorities)
        self._hold("priorities", parcel, send)

    def _hold(self, kind: Kind, parcel: Parcel, send: Send, row: LabelRowV2 | None = None) -> None:
        with self._lock:
            if (is_open := self._open) and self.refused is None:
                self._parcels[kind], self.row = parcel, row or self.row
        if not is_open:  # the attempt has ended meanwhile
            self._send_now(send, kind)

    def _send_now(self, send: Send, kind: Kind | None = None) -> None:
        """Send a save with a request of its own.

        Args:
            kind: Its kind, if what it holds is newer than a parcel that waits for its turn.
        """
        if kind is not None:
            if self._dry_run:
                logger.info("%s: a save after the attempt is not sent in a dry run.", self._function)
                return
            self._supersede(kind)
        started = self._gate.clock()
        try:
            send_alone(send)
        finally:
            if self._open:
                self.sent = True
                self.seconds += self._gate.clock() - started

    def _supersede(self, kind: Kind) -> None:
        with self._lock:
            if not self._open:
                self._parcels = {other: parcel for other, parcel in self._parcels.items() if other != kind}
                self.superseded |= {kind}

    # Sending

    def let_go(self, sent: Parcel | None = None) -> None:
        """Release a parcel unless a newer one is held; without an argument, release everything."""
        with self._lock:
            kept = {kind: one for kind, one in self._parcels.items() if sent is not None and one is not sent}
            self._parcels = kept

    def send(self) -> None:
        """Send the held parcels, waiting out outages. A refusal is kept until the attempt is over.

        Raises:
            OutageError, NoRoomError, CertificateError, Leaving: See `Gate.call`. Unsent parcels are still held.
        """
        if self._dry_run or self._process != os.getpid():
            return
        with self._sending:  # even if nothing is held: another thread may be sending
            self._before()
            for kind in KINDS:
                if (parcel := self._parcels.get(kind)) is not None:
                    self._ask(parcel, kind)
                    self.let_go(parcel)

    def _ask(self, parcel: Parcel, kind: Kind) -> None:
        self.sent = True
        try:
            self._gate.call(lambda: send_together([parcel]), kind=kind)
        except EncordException as error:  # others are not answers: it was cut off, or this machine failed
            self.refused = self.refused or error


def send_together(parcels: Iterable[Parcel]) -> None:
    """Send the parcels of several rows, in one request for each kind."""
    bundle = new_bundle()
    for parcel in parcels:
        parcel.add_to(bundle)
    bundle.execute()


def validated_apart(items: Iterable[T], parcel_of: Callable[[T], Parcel]) -> list[list[T]]:
    """Separate labels that need validation from the others: the platform validates all labels of a request, or none."""
    apart: tuple[list[T], list[T]] = ([], [])
    for item in items:
        apart[bool(getattr(parcel_of(item).payload, "validate_before_saving", False))].append(item)
    return list(apart)
