"""Settings of the whole process: changed while somebody uses them, put back by the last, whoever that is."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from encord_agents.tasks.engine import interpreter
from encord_agents.tasks.engine.interpreter import SWITCH_INTERVAL, old_objects_left_alone, quick_switches


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    interval = sys.getswitchinterval()
    yield
    sys.setswitchinterval(interval)
    gc.unfreeze()


def test_users_that_overlap() -> None:
    """The one that came first may leave first: the setting stays until the last has left."""
    before = sys.getswitchinterval()
    first, second = quick_switches(), quick_switches()
    first.__enter__()
    second.__enter__()
    assert sys.getswitchinterval() == pytest.approx(SWITCH_INTERVAL)
    first.__exit__(None, None, None)
    assert sys.getswitchinterval() == pytest.approx(SWITCH_INTERVAL)
    second.__exit__(None, None, None)
    assert sys.getswitchinterval() == before


def test_frozen_objects_likewise() -> None:
    """Until the last has left, and not after."""
    first, second = old_objects_left_alone(), old_objects_left_alone()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert gc.get_freeze_count()
    second.__exit__(None, None, None)
    assert not gc.get_freeze_count()


DIES_IN_USE = """
import gc, runpy, sys, weakref

interpreter = runpy.run_path(sys.argv[1])
left_alone = interpreter["old_objects_left_alone"]


class Node:
    def __init__(self):
        self.itself = self


if sys.argv[2] == "disabled":
    gc.disable()
with left_alone():
    nodes = [Node() for _ in range(gc.get_freeze_count())]
    dead = weakref.ref(nodes[0])
    nodes.clear()
for _ in range(interpreter["USES"]):
    with left_alone():
        pass
print(dead() is None)
"""


@pytest.mark.parametrize("collector", ["enabled", "disabled"])
def test_garbage_that_grew_old(collector: str) -> None:
    """It is collected after some more uses, so that a program that polls for days does not grow; unless the program has
    turned that off. In a process of its own, since this one has a million objects."""
    script = [sys.executable, "-c", DIES_IN_USE, interpreter.__file__, collector]
    said = subprocess.run(script, capture_output=True, text=True, timeout=60, check=True).stdout
    assert said == f"{collector == 'enabled'}\n"


def test_a_program_that_has_set_it_itself() -> None:
    """It is left alone: what it has frozen stays frozen, and a shorter interval stays as short."""
    gc.freeze()
    sys.setswitchinterval(1e-5)
    with quick_switches(), old_objects_left_alone():
        assert sys.getswitchinterval() == pytest.approx(1e-5)
    assert gc.get_freeze_count()
    assert sys.getswitchinterval() == pytest.approx(1e-5)


def test_many_threads() -> None:
    """However their turns fall, nothing is left changed."""
    before = sys.getswitchinterval()
    together = threading.Barrier(8)

    def use() -> None:
        together.wait(10)
        for _ in range(100):
            with quick_switches(), old_objects_left_alone():
                assert sys.getswitchinterval() == pytest.approx(SWITCH_INTERVAL)

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sys.getswitchinterval() == before
    assert not gc.get_freeze_count()
