"""Sampling of a video's frames: by number, by share, or by time."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from functools import cached_property
from numbers import Real
from pathlib import Path
from typing import Any

from encord_agents.core.data_model import Frame
from encord_agents.core.logs import get_logger
from encord_agents.core.seeking import LostError, Seeker
from encord_agents.core.video_file import Pixels, opened, unreadable
from encord_agents.core.video_stream import Film, OnDamage
from encord_agents.exceptions import PrintableError

__all__ = [
    "VideoSampler",
    "checked_number",
    "known_on_damage",
    "no_such_frame",
    "sample_frames",
    "sample_seconds",
    "sample_share",
]

logger = get_logger(__name__)

HELD_PIXELS = 1 << 25
"""Pixels of decoded frames to hold back if frames are wanted in another order than the file's: 48 MB, as decoders store
them; 36 frames of 720p, or 4 of 4K."""


class VideoSampler:
    """Samples one video, any number of times. Its packets are scanned only once.

    Args:
        path: The file.
        name: The name of the file in errors. Default: its own.
        on_damage: Whether lost frames leave a gap and a warning, or raise an error. With ``"raise"``, the file is read
            from the start.
    """

    def __init__(self, path: Path, *, name: str | None = None, on_damage: OnDamage = "warn") -> None:
        self._path = path
        self._name = name
        self._on_damage = known_on_damage(on_damage)

    @cached_property
    def _seeker(self) -> Seeker | None:
        return Seeker.of(self._path, self._name) if self._on_damage == "warn" else None

    def frames(self, numbers: Iterable[int]) -> Iterator[Frame]:
        """Yield the frames with these numbers, see `sample_frames`."""
        return self._frames([checked_number(number) for number in numbers])

    def in_turn(self, numbers: Iterable[int]) -> Iterator[Frame]:
        """Yield the frames with these numbers, of which there may be infinitely many, up to the first one beyond the
        last frame.

        Raises:
            PrintableError: A number is negative or not whole. Raised in its turn.
        """
        checked = map(checked_number, numbers)
        if (seeker := self._seeker) is not None:
            yield from self._frames(list(_until_beyond(checked, seeker.count)))
            return
        for run in _ascending_runs(checked):
            if (missing := (yield from self._pick(run))) is not None:
                self._warn(*missing)
                return

    def share(self, share: float) -> Iterator[Frame]:
        """Yield this share of the frames, see `sample_share`."""
        if not 0.0 < share <= 1.0:
            raise PrintableError(f"The share of frames to sample must be above 0 and at most 1, not {share!r}.")
        return self._share(share)

    def seconds(self, every: float) -> Iterator[Frame]:
        """Yield a frame every so many seconds, see `sample_seconds`."""
        if not (every > 0 and math.isfinite(every)):
            raise PrintableError(f"Frames can be sampled every so many seconds above 0, not every {every!r} s.")
        return self._seconds(every)

    def _frames(self, wanted: list[int]) -> Iterator[Frame]:
        if not wanted:
            return
        seeker = None if _is_dense(wanted) else self._seeker
        missing: tuple[int, int] | None = None
        if seeker is not None:
            there = [number for number in wanted if number < seeker.count]
            if len(there) < len(wanted):
                missing = seeker.count, next(number for number in wanted if number >= seeker.count)
            wanted = yield from self._sought(seeker, there)
        for run in _ascending_runs(wanted):
            missing = (yield from self._pick(run)) or missing
        if missing is not None:
            self._warn(*missing)

    def _warn(self, count: int, number: int) -> None:
        missing = no_such_frame(self._path, self._name, count, number)
        logger.warning("%s It was left out, and what comes after it.", missing)

    def _sought(self, seeker: Seeker, wanted: list[int]) -> Generator[Frame, None, list[int]]:
        """Yield frames by seeking. Return the numbers of the frames that have to be decoded from the start instead."""
        pixels, given = Pixels(self._path, self._name), 0
        try:
            for batch in _batches(wanted, seeker.pixels):
                for number, raw in _reordered(seeker, batch):
                    yield Frame(number, pixels.of(raw))
                    given += 1
        except LostError:
            return wanted[given:]
        return []

    def _share(self, share: float) -> Iterator[Frame]:
        step = 1.0 / share
        # 1 / share may miss a whole number by a rounding error, which must not cost a frame.
        numbers = (int(number * step + 1e-9) for number in itertools.count())
        seeker = None if share > 0.5 else self._seeker
        if seeker is None:
            yield from self._pick(numbers)
            return
        count = seeker.count
        wanted = list(itertools.takewhile(lambda number: number < count, numbers))
        yield from self._pick(iter((yield from self._sought(seeker, wanted))))

    def _seconds(self, every: float) -> Iterator[Frame]:
        if (seeker := self._seeker) is not None:
            yield from self._pick(iter((yield from self._sought(seeker, list(seeker.at_seconds(every))))))
            return
        shown: tuple[int, Any] | None = None  # the frame on screen until the next one
        with opened(self._path, self._name) as (_, stream):
            tick = float(stream.time_base)
        every = max(every, tick)  # then every frame is shown already
        pixels, begin, step = Pixels(self._path, self._name), 0.0, 0
        with closing(Film(self._path, self._name, self._on_damage).frames()) as frames:
            for number, raw in frames:
                if raw.pts is None:
                    raise unreadable(self._path, self._name, "its frames have no time stamps to sample by")
                if shown is None:
                    begin = raw.pts * tick
                time = raw.pts * tick - begin
                if shown is not None and step * every + 1e-9 < time:
                    yield Frame(shown[0], pixels.of(shown[1]))
                    step = math.ceil((time - 1e-9) / every)
                shown = number, raw
            if shown is not None and step * every <= shown[1].pts * tick - begin + 1e-9:
                yield Frame(shown[0], pixels.of(shown[1]))

    def _pick(self, ascending: Iterator[int]) -> Generator[Frame, None, tuple[int, int] | None]:
        """Yield frames, decoded from the start.

        Returns:
            The number of frames and the first of the numbers beyond them; ``None`` if there is no such number.
        """
        following = next(ascending, None)
        if following is None:
            return None
        pixels, count = Pixels(self._path, self._name), 0
        with closing(Film(self._path, self._name, self._on_damage).frames()) as frames:
            for number, raw in frames:
                count = number + 1
                while following <= number:  # smaller: a lost frame, which the log reports
                    if following == number:
                        yield Frame(number, pixels.of(raw))
                    following = next(ascending, None)
                    if following is None:
                        return None
        return count, following


def sample_frames(
    path: Path, numbers: Iterable[int], *, name: str | None = None, on_damage: OnDamage = "warn"
) -> Iterator[Frame]:
    """Yield the frames with these numbers, in the given order, repeats included.

    If the numbers ascend, one frame is in memory at a time; otherwise up to 48 MB of frames are held back, so that
    nothing is decoded twice. Frames in between are skipped by seeking, if the container supports it (MP4, QuickTime,
    Matroska, WebM) and nothing in the file suggests that seeking would give other frames. Other files are read from the
    start, and again for each step back. Numbers beyond the last frame are left out, with a warning in the log, and so
    are lost frames.

    Args:
        path: The file.
        numbers: From 0, in any order.
        name: The name of the file in errors. Default: its own.
        on_damage: As for `iterate_frames`. With ``"raise"``, the file is read from the start.

    Raises:
        UnsupportedAssetError: As `iterate_frames` does.
        PrintableError: A number is negative or not whole.
    """
    return VideoSampler(path, name=name, on_damage=on_damage).frames(numbers)


def sample_share(path: Path, share: float, *, name: str | None = None, on_damage: OnDamage = "warn") -> Iterator[Frame]:
    """Yield a share of the frames, evenly spaced from frame 0 on: 0.1 is every tenth, 0.4 is frames 0, 2, 5, 7, 10, ...

    Frames in between are skipped as in `sample_frames`.

    Args:
        path: The file.
        share: Above 0 and up to 1.
        name: The name of the file in errors. Default: its own.
        on_damage: As for `iterate_frames`.

    Raises:
        UnsupportedAssetError: As `iterate_frames` does.
        PrintableError: The share is out of range.
    """
    return VideoSampler(path, name=name, on_damage=on_damage).share(share)


def sample_seconds(path: Path, every: float, *, name: str | None = None) -> Iterator[Frame]:
    """Yield the frames shown at 0 s, and then every ``every`` seconds, by their time stamps; each frame only once.

    Args:
        path: The file.
        every: Seconds, above 0.
        name: The name of the file in errors. Default: its own.

    Raises:
        UnsupportedAssetError: As `iterate_frames` does, or the file has no time stamps.
        PrintableError: ``every`` is not above 0.
    """
    return VideoSampler(path, name=name).seconds(every)


def _batches(numbers: list[int], pixels: int) -> Iterator[list[int]]:
    """Split numbers into batches whose frames may be held back together; ascending numbers stay together."""
    if all(a <= b for a, b in itertools.pairwise(numbers)):
        yield numbers
        return
    most = max(1, HELD_PIXELS // max(pixels, 1))
    yield from (numbers[start : start + most] for start in range(0, len(numbers), most))


def _reordered(seeker: Seeker, numbers: list[int]) -> Iterator[tuple[int, Any]]:
    """Yield frames in the order of their numbers, decoded in ascending order."""
    ascending = sorted(numbers)
    if ascending == numbers:
        yield from seeker.frames(numbers)
        return
    held = dict(seeker.frames(sorted(set(numbers))))
    for place, number in enumerate(numbers):
        yield number, held[number] if number in numbers[place + 1 :] else held.pop(number)


def _is_dense(numbers: list[int]) -> bool:
    """Return True if most frames up to the last are wanted, in order: then seeking gains nothing."""
    return 2 * len(numbers) > max(numbers) and all(a <= b for a, b in itertools.pairwise(numbers))


def _ascending_runs(numbers: Iterable[int]) -> Iterator[Iterator[int]]:
    """Split numbers at each step back. They are read as the runs are."""
    last, steps_back = 0, 0

    def run_of(number: int) -> int:
        nonlocal last, steps_back
        steps_back += number < last
        last = number
        return steps_back

    for _, run in itertools.groupby(numbers, run_of):
        yield run


def _until_beyond(numbers: Iterable[int], count: int) -> Iterator[int]:
    """Yield numbers up to the first one that is not below a count, and that one."""
    for number in numbers:
        yield number
        if number >= count:
            return


def known_on_damage(on_damage: OnDamage) -> OnDamage:
    """Return the argument, if it is a known value.

    Raises:
        ValueError: It is not.
    """
    if on_damage not in ("warn", "raise"):
        raise ValueError(f"on_damage must be 'warn' or 'raise', not {on_damage!r}.")
    return on_damage


def checked_number(number: int, thing: str = "frame") -> int:
    """Return the number of a frame, or another thing, as an `int`. It may be of any numeric type, such as numpy's.

    Raises:
        PrintableError: It is negative, or not a whole number.
    """
    try:
        whole = operator.index(number)
    except TypeError:
        if not (isinstance(number, Real) and float(number).is_integer()):
            raise PrintableError(
                f"{thing.title()}s have whole numbers, so there is no {thing} {number!r}. Round it, or use int()."
            ) from None
        whole = int(number)
    if whole < 0:
        raise PrintableError(f"{thing.title()}s are numbered from 0, so there is no {thing} {whole}.")
    return whole


def no_such_frame(path: Path, name: str | None, count: int, number: int) -> str:
    """Return the message about a number beyond the last frame."""
    return f"{name or path.name!r} has {count} frames (0 to {count - 1}), so there is no frame {number}."
