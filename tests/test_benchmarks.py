"""What benchmarks write is what was measured, wherever it is written to."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("celery")

from benchmarks import media, scale_page
from benchmarks.celery_workers import Emptied
from benchmarks.lines import Line, plot
from benchmarks.scale import Point, Scale


def emptied(workers: int, batch: int, agent_seconds: float, per_second: float) -> Emptied:
    return Emptied(workers, batch, agent_seconds, 0.03, per_second, 6 / batch, 0.003, 12.0, 400.0)


@pytest.fixture
def scale() -> Scale:
    """A platform that is asked six times a message, by workers that need half a second for one besides its agents."""
    points = [Point("tasks", tasks, tasks, tasks / 500, tasks / 2000, 9e7, tasks // 10) for tasks in (1_000, 10_000)]
    on_celery = [emptied(1, batch, 0.0, batch / 0.5) for batch in (1, 10, 100)]
    on_celery += [emptied(workers, 10, 0.1, workers * 10 / 1.5) for workers in (1, 4)]
    return Scale({"cpus": 2, "python": "3.11", "on": "2026-01-01"}, points, on_celery)


def test_a_section_is_replaced() -> None:
    """Written again, a page is the same; what is before and after stays."""
    page = "# Performance\n\n## Before\n\nyes\n"
    once = scale_page.with_section(page, None)
    assert once.startswith(page.rstrip())
    assert once.count(scale_page.TITLE) == 1
    assert scale_page.with_section(once, None) == once
    followed = once + "\n## After\n\nyes\n"
    assert scale_page.with_section(followed, None) == followed


def test_the_cost_of_media_is_replaced() -> None:
    """Likewise, with what was measured last."""
    page = "# Files\n\n## Before\n\nyes\n"
    once = media.with_section(page, [media.Row("a film", "1 s", "2 s", "≥ 1.5 × as fast", met=True)])
    assert once.startswith(page)
    assert "| a film | 1 s  | 2 s    | ≥ 1.5 × as fast | yes |" in once
    again = media.with_section(once + "\n## After\n\nyes\n", [media.Row("a film", "4 s", "2 s", "–", met=False)])
    assert again.count(media.TITLE) == 1
    assert "1 s" not in again
    assert "**no**" in again
    assert again.endswith("\n\n## After\n\nyes\n")


def test_the_arithmetic(scale: Scale) -> None:
    """How many workers a platform can take follows from what a message costs."""
    page = scale_page.beyond(scale)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("|")]
    # 50 requests a second are 8.3 messages; of 10 tasks with agents of a second, a worker needs 10.5 s for each.
    assert ["50", "83", "13", "88", "838"] in rows
    # And of 100 tasks: 833 tasks a second, by workers that need 100.5 s.
    assert ["50", "833", "88", "838", "8,338"] in rows
    assert ["10", "6.0", "0.60", "0.50 s", "50 ms"] in rows
    assert scale_page.NOT_YET not in page
    assert "26.7 tasks a second, and did 26.7" in page


def test_nothing_was_measured() -> None:
    """Then the pages say so, and give no figure."""
    assert scale_page.section(None) == scale_page.NOT_YET
    assert "| " not in scale_page.beyond(None)


def test_what_is_in_proportion_is_a_straight_line() -> None:
    """On both kinds of axes."""
    for logarithmic in (True, False):
        drawn = plot("t", "x", "y", [Line("a", [(1, 2), (2, 4), (4, 8)])], logarithmic=logarithmic)
        points = drawn.partition('points="')[2].partition('"')[0].split()
        (x1, y1), (x2, y2), (x3, y3) = (map(float, point.split(",")) for point in points)
        assert (y2 - y1) / (x2 - x1) == pytest.approx((y3 - y2) / (x3 - x2), abs=0.01)


def test_results_are_read_as_they_were_written(scale: Scale, tmp_path: Path) -> None:
    """So that pages can be written anew without measuring."""
    path = tmp_path / "scale.json"
    assert Scale.read(path) is None
    scale.write(path)
    assert Scale.read(path) == scale


def test_a_series_is_measured_again(scale: Scale) -> None:
    """Other series stay as they were."""
    again = Scale({**scale.machine, "on": "2026-02-02"}, [Point("tasks", 500, 500, 1.0, 0.5, 9e7, 50)])
    both = Scale(scale.machine, [*scale.points, Point("window", 1, 100, 20.0, 1.0, 9e7, 600)], scale.celery)
    updated = both.updated(again)
    assert [point.x for point in updated.of("tasks")] == [500]
    assert len(updated.of("window")) == 1
    assert updated.celery == scale.celery
    assert updated.machine["on"] == "2026-02-02"
