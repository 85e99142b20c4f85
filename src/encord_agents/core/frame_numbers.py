"""The numbers of a video's frames, worked out from the time stamps of the packets that hold them.

A packet holds one picture. A frame's number is the rank of its packet's time stamp: 0 is the earliest, whatever order
the packets are stored in, and however far apart the stamps are. So a frame that cannot be decoded leaves a gap, and
those after it keep their numbers. Everything is known in one pass: by the time a decoder gives out a frame, it has been
sent every packet that is to be shown before it.

Numbering begins with the first frame that can be shown. Packets before the first key frame, and those shown before it
that need pictures from before the beginning, are not counted: no player shows them.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass, field

__all__ = ["FrameNumbers", "Packet", "spans"]

STEADY_STEPS = 8
"""Time steps that must have been alike before a longer one counts as a hole."""

NEAR = 8
"""Frames that lie near a damaged one, or near the end: decoders mark one, and the next may be missing."""


@dataclass(frozen=True, slots=True, order=True)
class Packet:
    """A packet, in the order of presentation.

    Attributes:
        epoch: How often time had started anew before it.
        time: Its time stamp.
        ordinal: Its place in the file's order.
        after_damage: Whether the file was damaged just before or in it, so that whole packets may be missing there.
    """

    epoch: int
    time: int
    ordinal: int
    key: bool = field(compare=False, default=False)
    after_damage: bool = field(compare=False, default=False)


class FrameNumbers:
    """Numbers the frames of one video. It is told of packets that go into the decoder, and frames that come out of it.

    Args:
        by_time: Whether to trust the time stamps. Otherwise frames are counted as they come out, and what was lost in
            between can only be said at the end.

    Attributes:
        trusts_rate: Whether a hole in a steady rate is frames that are missing, also where nothing is known of damage.
        count: The number that the next frame will have; after `end()`, how many frames there are.
        lost: The numbers of frames that could not be had.
        left_out: Packets at the beginning that do not count, see above.
        unsure_from: The first number that may be wrong, as the file contradicts itself; or `None`.
    """

    def __init__(self, *, by_time: bool = True) -> None:
        self.by_time = by_time
        self.trusts_rate = False
        self.count = 0
        self.lost: list[int] = []
        self.left_out = 0
        self.unsure_from: int | None = None
        self._sent = 0
        self._epoch = 0
        self._newest_dts: int | None = None
        self._waiting: list[Packet] = []  # sent, and neither shown nor passed over; sorted
        self._by_ordinal: dict[int, Packet] = {}
        self._first_key: Packet | None = None
        self._last: Packet | None = None  # the latest, in the order of presentation, that has a number
        self._shown_last = -1  # the ordinal of the frame that was shown last
        self._steps = 0
        self._time_of_steps = self._shortest = self._longest = 0
        self._interlaced = False
        self._near_damage = 0
        self._tail_from: int | None = None

    def sent(self, pts: int | None, dts: int | None, *, key: bool = False, after_damage: bool = False) -> int:
        """Note a packet. Returns its ordinal, for `shown()`."""
        ordinal = self._sent
        self._sent += 1
        if dts is not None:
            if self._newest_dts is not None and dts < self._newest_dts:
                self._epoch += 1
            self._newest_dts = dts
        if pts is None:
            pts = dts
        if pts is None:
            pts = ordinal
            if ordinal == 0:
                self.by_time = False
            elif self.by_time:
                self.doubt()
        packet = Packet(self._epoch, pts, ordinal, key, after_damage)
        if key and self._first_key is None:
            self._first_key = packet
        if self.by_time and self._last is not None and packet < self._last:
            self.doubt()
        insort(self._waiting, packet)
        self._by_ordinal[ordinal] = packet
        return ordinal

    def faulty(self) -> None:
        """Note that the frame shown last, or one close to it, was damaged: whole ones may be missing beside it."""
        self._near_damage = NEAR

    def ended(self) -> None:
        """All packets were sent. Where a file was cut off, pictures may be missing that lie before its last ones."""
        self._tail_from = self._sent - NEAR

    def ordinal_at(self, pts: int | None) -> int | None:
        """The ordinal of the earliest waiting packet with this time stamp."""
        return next((packet.ordinal for packet in self._waiting if packet.time == pts), None)

    def shown(self, ordinal: int | None, *, interlaced: bool = False) -> int:
        """Number a frame that the decoder gave out. Numbers ascend."""
        packet = None if ordinal is None else self._by_ordinal.pop(ordinal, None)
        self._interlaced = interlaced
        if packet is None or not self.by_time:
            if packet is None:  # it was given up already, or comes from nowhere
                self.doubt()
            else:
                del self._waiting[bisect_left(self._waiting, packet)]
            return self._count_one()
        if self._last is None:
            self._begin_with(packet)
        if self._last is not None and packet < self._last:  # out of order: the decoder is right
            self.doubt()
            del self._waiting[bisect_left(self._waiting, packet)]
        else:
            place = bisect_left(self._waiting, packet)
            passed = self._waiting[:place]
            del self._waiting[: place + 1]
            self._pass_over(passed)
            self._step_to(packet)
        self._last = packet
        self._shown_last = packet.ordinal
        return self._count_one()

    def end(self) -> None:
        """There are no more frames: what is waiting is lost."""
        if self._last is None and self.by_time and self._waiting:
            self._begin_with(self._first_key or self._waiting[0])
        passed, self._waiting = self._waiting, []
        if self.by_time:
            self._pass_over(passed)
        elif passed and self.unsure_from is None:
            self.unsure_from = 0
        self._by_ordinal.clear()

    def take_the_rest_as_shown(self) -> None:
        """Count what is waiting, without decoding it."""
        waiting, self._waiting = self._waiting, []
        for packet in waiting:
            self._step_to(packet)
            self._last = packet
            self._count_one()
        self._by_ordinal.clear()

    def _count_one(self) -> int:
        self.count += 1
        return self.count - 1

    def doubt(self) -> None:
        """Note that numbers from here on may be wrong."""
        if self.unsure_from is None:
            self.unsure_from = self.count

    def _begin_with(self, first: Packet) -> None:
        """Drop what does not count: see the module's docstring. Decided by the first frame that is shown."""
        key = self._first_key
        if key is None or first.ordinal < key.ordinal:  # no packet is marked, or the decoder can do without
            dropped = [packet for packet in self._waiting if packet < first and packet.ordinal < first.ordinal]
            if key is None:
                dropped = []
        else:
            dropped = [
                packet for packet in self._waiting if packet.ordinal < key.ordinal or (packet < key and not first < key)
            ]
        self.left_out = len(dropped)
        self._forget(dropped)

    def _forget(self, dropped: list[Packet]) -> None:
        gone = {packet.ordinal for packet in dropped}
        if gone:
            self._waiting = [packet for packet in self._waiting if packet.ordinal not in gone]
            for ordinal in gone:
                self._by_ordinal.pop(ordinal, None)

    def _pass_over(self, passed: list[Packet]) -> None:
        """Packets whose frames should have come by now."""
        # Two fields of a picture may come in two packets, of which a decoder makes one frame.
        if self._interlaced and len(passed) == 1 and passed[0].ordinal == self._shown_last + 1:
            self._forget(passed)
            self._by_ordinal.pop(passed[0].ordinal, None)
            return
        for packet in passed:
            self._by_ordinal.pop(packet.ordinal, None)
            self._step_to(packet)
            self._last = packet
            self.lost.append(self._count_one())

    def _step_to(self, packet: Packet) -> None:
        """Where the file is damaged and its frames came at a steady pace, a longer step is frames that are missing."""
        last = self._last
        if last is None or last.epoch != packet.epoch:
            self._steps = 0
            return
        step = packet.time - last.time
        torn = packet.after_damage or last.after_damage
        cut_off = self.trusts_rate or (self._tail_from is not None and packet.ordinal >= self._tail_from)
        if torn or cut_off or self._near_damage > 0:
            self._near_damage -= 1
            missing = self._missing_in(step)
            if missing is None and (torn or (not cut_off and step > self._longest)):
                self.doubt()
            elif missing:
                self.lost.extend(self._count_one() for _ in range(missing))
                return
        if not self._steps:
            self._time_of_steps, self._shortest, self._longest = 0, step, step
        self._steps += 1
        self._time_of_steps += step
        self._shortest, self._longest = min(self._shortest, step), max(self._longest, step)

    def _missing_in(self, step: int) -> int | None:
        """How many frames fit into a step, or `None` where that cannot be told."""
        if self._steps < STEADY_STEPS or self._shortest <= 0 or self._longest - self._shortest > 1:
            return None
        return max(0, round(step * self._steps / self._time_of_steps) - 1)


def spans(numbers: list[int]) -> str:
    """Ascending numbers as text: ``3, 7 to 9``. The first ten of many."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and number <= runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    texts = [str(first) if first == last else f"{first} to {last}" for first, last in runs[:10]]
    if len(runs) > 10:
        texts.append(f"and more, up to {runs[-1][1]}")
    return ", ".join(texts)
