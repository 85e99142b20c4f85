"""Pixels of bitmasks."""

from __future__ import annotations

import numpy as np
import pytest
from encord.objects.bitmask import BitmaskCoordinates

from encord_agents.core.masks import pixels_of


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.98, 1.0])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 1), (40, 60), (64, 3)])
def test_the_same_as_the_sdk_reads(size: tuple[int, int], share: float) -> None:
    """Whatever the mask."""
    mask = np.random.default_rng(1).uniform(size=size) < share
    coordinates = BitmaskCoordinates(np.ascontiguousarray(mask))
    pixels = pixels_of(coordinates)
    assert pixels.dtype == bool
    assert np.array_equal(pixels, mask)
    assert np.array_equal(pixels, np.asarray(coordinates))


def test_runs_that_end_early() -> None:
    """The rest is empty, as for the SDK; runs that are too long are left to it."""
    given = {"top": 0, "left": 0, "height": 2, "width": 5, "rleString": "12"}
    coordinates = BitmaskCoordinates.from_dict({"bitmask": given})
    assert pixels_of(coordinates).tolist() == [[False, True, True, False, False], [False] * 5]
    assert np.array_equal(pixels_of(coordinates), np.asarray(coordinates))
