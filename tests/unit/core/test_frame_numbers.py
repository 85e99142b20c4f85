"""Numbers from time stamps: ranks, gaps, and what is said where nothing can be known."""

from __future__ import annotations

from encord_agents.core.frame_numbers import FrameNumbers, spans


def steady(numbers: FrameNumbers, times: list[int], *, torn: frozenset[int] = frozenset()) -> list[int]:
    """Send and show frames one after the other."""
    shown = []
    for time in times:
        ordinal = numbers.sent(time, time, key=time == times[0], after_damage=time in torn)
        shown.append(numbers.shown(ordinal))
    numbers.end()
    return shown


def test_numbers_are_ranks() -> None:
    """Whatever the stamps are, numbers have no holes."""
    assert steady(FrameNumbers(), [5, 6, 100, 107, 5000]) == [0, 1, 2, 3, 4]


def test_a_frame_that_does_not_come_leaves_a_gap() -> None:
    """Those after it keep their numbers; packets are stored in another order than they are shown in."""
    numbers = FrameNumbers()
    first, third, second, fourth = (numbers.sent(time, None, key=time == 0) for time in (0, 2, 1, 3))
    assert [numbers.shown(first), numbers.shown(third), numbers.shown(fourth)] == [0, 2, 3]
    numbers.end()
    assert (numbers.lost, numbers.count, numbers.unsure_from) == ([1], 4, None)
    assert second == 2


def test_what_is_lost_at_both_ends_counts() -> None:
    """A damaged key frame is frame 0 all the same, and a damaged last frame is the last."""
    numbers = FrameNumbers()
    sent = [numbers.sent(time, time, key=time == 0) for time in range(4)]
    assert [numbers.shown(sent[1]), numbers.shown(sent[2])] == [1, 2]
    numbers.end()
    assert (numbers.lost, numbers.count) == ([0, 3], 4)


def test_a_beginning_within_a_group_of_pictures() -> None:
    """What comes before the first key frame, in the file or on the screen, is not counted, unless it can be decoded."""
    for leading_is_shown in (False, True):
        numbers = FrameNumbers()
        numbers.sent(1, 0), numbers.sent(2, 1)
        key, leading, after = numbers.sent(5, 2, key=True), numbers.sent(4, 3), numbers.sent(6, 4)
        order = [leading, key, after] if leading_is_shown else [key, after]
        assert [numbers.shown(ordinal) for ordinal in order] == list(range(len(order)))
        numbers.end()
        assert (numbers.left_out, numbers.lost) == (2 if leading_is_shown else 3, [])


def test_packets_that_are_gone() -> None:
    """Where damage took packets away, a steady rate tells how many; no rate, and numbers are not sure from there on."""
    numbers = FrameNumbers()
    times = [*range(0, 1000, 100), *range(1300, 1600, 100)]
    assert steady(numbers, times, torn=frozenset({1300})) == [*range(10), 13, 14, 15]
    assert (numbers.lost, numbers.unsure_from) == ([10, 11, 12], None)

    numbers = FrameNumbers()
    assert steady(numbers, [0, 100, 150, 600, 700, 1300], torn=frozenset({700})) == [0, 1, 2, 3, 4, 5]
    assert (numbers.lost, numbers.unsure_from) == ([], 4)


def test_a_long_step_alone_is_no_damage() -> None:
    """A film may stand still."""
    numbers = FrameNumbers()
    assert steady(numbers, [*range(0, 1000, 100), 5000, 5100]) == list(range(12))
    assert (numbers.lost, numbers.unsure_from) == ([], None)


def test_time_that_starts_anew() -> None:
    """Two recordings in one file are numbered through."""
    numbers = FrameNumbers()
    assert steady(numbers, [100, 200, 300, 50, 150, 250]) == [0, 1, 2, 3, 4, 5]
    assert (numbers.lost, numbers.unsure_from) == ([], None)


def test_stamps_that_contradict_the_decoder() -> None:
    """Every frame has a number, they ascend, and it is said from where on they are not sure."""
    numbers = FrameNumbers()
    a, b, c, d = (numbers.sent(time, None, key=time == 0) for time in (0, 9, 1, 2))
    assert [numbers.shown(ordinal) for ordinal in (a, b, c, d)] == [0, 3, 4, 5]
    assert numbers.unsure_from is not None


def test_two_fields_of_a_picture() -> None:
    """They come in two packets, and are one frame."""
    numbers = FrameNumbers()
    shown = []
    for time in range(0, 80, 20):
        first = numbers.sent(time, time, key=time == 0)
        numbers.sent(time + 10, time + 10)
        shown.append(numbers.shown(first, interlaced=True))
    numbers.end()
    assert (shown, numbers.lost, numbers.count) == ([0, 1, 2, 3], [], 4)


def test_without_stamps() -> None:
    """Frames are counted as they come; where some do not, no number is sure."""
    numbers = FrameNumbers()
    sent = [numbers.sent(None, None) for _ in range(4)]
    assert [numbers.shown(sent[n]) for n in (0, 2, 1)] == [0, 1, 2]
    numbers.end()
    assert numbers.unsure_from == 0


def test_spans() -> None:
    """Numbers as people write them, and not endlessly."""
    assert spans([3]) == "3"
    assert spans([3, 7, 8, 9]) == "3, 7 to 9"
    assert spans(list(range(0, 100, 2))).endswith("18, and more, up to 98")
