"""The numbers of a video's frames, worked out from the time stamps of the packets that hold them.

A packet holds one picture. A frame's number is the rank of its packet's time stamp: 0 is the earliest, whatever order
the packets are stored in, and however far apart the stamps are. A frame that cannot be decoded therefore leaves a gap,
and the frames after it keep their numbers. One pass is enough: by the time a decoder returns a frame, it has been sent
every packet that comes before it in order of presentation.

Numbering begins with the first frame that can be shown. Packets before the first key frame, and packets presented
before it that need pictures from before the beginning, are not counted: no player shows them.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass, field

__all__ = ["FrameNumbers", "Packet", "spans"]

STEADY_STEPS = 8
"""Time steps of equal length that are needed before a longer one counts as a gap."""

NEAR = 8
"""Frames that count as near a damaged one, or near the end: decoders mark one, and the next may be missing."""


@dataclass(frozen=True, slots=True, order=True)
class Packet:
    """A packet, in the order of presentation.

    Attributes:
        epoch: The number of times that time stamps had started over before it.
        time: Its time stamp.
        ordinal: Its position in the file's order.
        after_damage: True if the file was damaged just before it or in it, so that whole packets may be missing there.
    """

    epoch: int
    time: int
    ordinal: int
    key: bool = field(compare=False, default=False)
    after_damage: bool = field(compare=False, default=False)


class FrameNumbers:
    """Numbers the frames of one video, given the packets sent to the decoder and the frames it returns.

    Args:
        by_time: Trust the time stamps. If not, frames are counted as they come out, and losses in between are known
            only at the end.

    Attributes:
        trusts_rate: True if a gap in a steady rate means missing frames even without any sign of damage.
        count: The number of the next frame; after `end()`, the number of frames.
        lost: The numbers of frames that could not be decoded.
        left_out: The number of packets at the beginning that do not count, see above.
        unsure_from: The first number that may be wrong because the file contradicts itself, or `None`.
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
        self._waiting: list[Packet] = []  # sent, but neither shown nor passed over; sorted
        self._by_ordinal: dict[int, Packet] = {}
        self._first_key: Packet | None = None
        self._last: Packet | None = None  # the last one, in order of presentation, that has a number
        self._shown_last = -1  # the ordinal of the frame that was shown last
        self._steps = 0
        self._time_of_steps = self._shortest = self._longest = 0
        self._interlaced = False
        self._near_damage = 0
        self._tail_from: int | None = None

    def sent(self, pts: int | None, dts: int | None, *, key: bool = False, after_damage: bool = False) -> int:
        """Record a packet that was sent to the decoder, and return its ordinal, for `shown()`."""
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
        """Record that the last frame, or one close to it, was damaged: whole frames may be missing near it."""
        self._near_damage = NEAR

    def ended(self) -> None:
        """Record that all packets were sent. In a truncated file, pictures before the last ones may be missing."""
        self._tail_from = self._sent - NEAR

    def ordinal_at(self, pts: int | None) -> int | None:
        """Return the ordinal of the earliest waiting packet with this time stamp."""
        return next((packet.ordinal for packet in self._waiting if packet.time == pts), None)

    def shown(self, ordinal: int | None, *, interlaced: bool = False) -> int:
        """Return the number of a frame that the decoder returned. Numbers ascend."""
        packet = None if ordinal is None else self._by_ordinal.pop(ordinal, None)
        self._interlaced = interlaced
        if packet is None or not self.by_time:
            if packet is None:  # its packet was already counted as lost, or is unknown
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
        """Record that there are no more frames: the waiting packets are lost."""
        if self._last is None and self.by_time and self._waiting:
            self._begin_with(self._first_key or self._waiting[0])
        passed, self._waiting = self._waiting, []
        if self.by_time:
            self._pass_over(passed)
        elif passed and self.unsure_from is None:
            self.unsure_from = 0
        self._by_ordinal.clear()

    def take_the_rest_as_shown(self) -> None:
        """Count the waiting packets without decoding them."""
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
        """Record that numbers from here on may be wrong."""
        if self.unsure_from is None:
            self.unsure_from = self.count

    def _begin_with(self, first: Packet) -> None:
        """Drop packets that do not count (see the module's docstring), given the first frame that is shown."""
        key = self._first_key
        if key is None or first.ordinal < key.ordinal:  # no packet is marked, or the decoder does not need the mark
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
        """Count as lost the packets whose frames should have been returned by now."""
        # The two fields of a picture may be in two packets, from which a decoder makes one frame.
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
        """Count missing frames: near damage, a longer step in a steady rate means that frames are missing."""
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
        """Return the number of frames missing in a step, or `None` if the rate is not steady enough to tell."""
        if self._steps < STEADY_STEPS or self._shortest <= 0 or self._longest - self._shortest > 1:
            return None
        return max(0, round(step * self._steps / self._time_of_steps) - 1)


def spans(numbers: list[int]) -> str:
    """Return ascending numbers as text, as in ``3, 7 to 9``; if there are many, only the first ten runs."""
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
