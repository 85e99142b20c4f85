"""An agent's own saves, between the call and the request."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
from encord.objects import LabelRowV2
from tests.stage_runs import stage_run, waiting
from tests.waiting import until

from encord_agents.local import Fault
from encord_agents.tasks.engine.context import Context
from encord_agents.tasks.engine.held import KINDS, Held, validated_apart

if TYPE_CHECKING:
    from tests.conftest import World


Load = Callable[..., tuple[list[Context], list[Held]]]


@pytest.fixture
def loaded(world: World) -> Iterator[Load]:
    """Tasks in an attempt, which is over when the test is: it hears of all requests in the process until then."""
    begun: list[Held] = []

    def load(*, tasks: int = 1) -> tuple[list[Context], list[Held]]:
        world.project.add_placeholders(tasks)

        def agent(label_row: LabelRowV2) -> None: ...

        run = stage_run(world, agent, bundle_saves=True)
        contexts, _ = run.load(waiting(run), run.gate.clock())
        held = [run.own_saves.begin(context) for context in contexts]
        begun.extend(held)
        world.platform.journal.clear()
        return contexts, held

    yield load
    for one in begun:
        one.end()


def row_of(context: Context) -> LabelRowV2:
    assert context.row is not None
    return context.row


def test_saves_are_held_and_sent_in_their_order(world: World, loaded: Load) -> None:
    """Labels before the priority, the last of several each: one request of each kind."""
    (context,), (held,) = loaded()
    row = row_of(context)
    row.set_priority(0.2)
    for x in (0.1, 0.25):
        world.mark(row, x)
        row.save()
    row.set_priority(0.5)
    assert world.requests() == []
    assert held
    held.send()
    assert world.requests() == ["save", "priorities"]
    assert not held
    assert world.marks(row.data_hash) == [0.1, 0.25]
    assert world.project.priority(row.data_hash) == 0.5


def test_labels_are_held_as_they_are_at_the_call(world: World, loaded: Load) -> None:
    """The agent may go on to change them."""
    (context,), (held,) = loaded()
    world.mark(row_of(context), 0.1)
    row_of(context).save()
    world.mark(row_of(context), 0.6)
    held.send()
    assert world.marks(row_of(context).data_hash) == [0.1]


def test_a_newer_save_is_not_released_with_an_older_one(world: World, loaded: Load) -> None:
    """Only what was sent is: another thread of the agent may have saved meanwhile."""
    (context,), (held,) = loaded()
    row_of(context).save()
    older = held.parcel("save")
    world.mark(row_of(context))
    row_of(context).save()
    held.let_go(older)
    assert held.parcel("save") is not None
    held.let_go()
    assert not held


def test_after_the_attempt_saves_are_the_sdks_own(world: World, loaded: Load) -> None:
    """Nobody would send them."""
    (context,), (held,) = loaded()
    held.end()
    row_of(context).save()
    assert world.requests() == ["save"]
    assert not held


def test_a_refusal_is_kept_and_nothing_is_held_after_it(world: World, loaded: Load) -> None:
    """The attempt goes on; its task fails when it is over."""
    (context,), (held,) = loaded()
    world.platform.faults.add(Fault("save", action="envelope", status=400, error="CORRUPTED_LABEL_ERROR"))
    row_of(context).save()
    held.send()
    assert held.refused is not None
    row_of(context).set_priority(0.5)
    assert not held


def test_a_bad_priority_is_refused_at_the_call(loaded: Load) -> None:
    """As the SDK does before it sends one."""
    (context,), (held,) = loaded()
    with pytest.raises(ValueError, match="priority"):
        row_of(context).set_priority(float("nan"))
    assert not held


def test_the_end_of_an_attempt_waits_for_a_save_that_is_being_sent(world: World, loaded: Load) -> None:
    """Else it could come after the task's next attempt."""
    (context,), (held,) = loaded()
    row_of(context).save()
    world.platform.faults.add(Fault("save", action="stall", seconds=600.0))
    sending = threading.Thread(target=held.send)
    sending.start()
    ending = threading.Thread(target=held.end)
    assert until(held._sending.locked)
    ending.start()
    ending.join(0.1)  # for it to fail where it does not wait
    assert ending.is_alive()
    world.platform.faults.clear()
    sending.join()
    ending.join()


def test_labels_to_be_validated_go_apart(loaded: Load) -> None:
    """The platform validates all labels of a request, or none."""
    contexts, held = loaded(tasks=3)
    for number, context in enumerate(contexts):
        row_of(context).save(validate_before_saving=number == 1)
    parcels = [parcel for one in held if (parcel := one.parcel("save")) is not None]
    assert validated_apart(parcels, lambda parcel: parcel) == [[parcels[0], parcels[2]], [parcels[1]]]


def test_a_newer_save_after_the_attempt(world: World, loaded: Load) -> None:
    """It is sent, and what was held, or is about to be sent with the task's result, is out of date."""
    (context,), (held,) = loaded()
    row = row_of(context)
    row.save()
    row.set_priority(0.25)
    held.end()
    row.save()
    assert [kind for kind in KINDS if held.parcel(kind) is not None] == ["priorities"]
    assert held.superseded == {"save"}
    held.begin(row, None, "agent")
    assert not held.superseded  # the next attempt's are newer
    assert world.requests() == ["save"]


def test_what_must_not_be_sent_any_more(world: World) -> None:
    """Held saves may be released just before they would be sent."""
    world.project.add_placeholders(1)

    def agent(label_row: LabelRowV2) -> None: ...

    run = stage_run(world, agent, bundle_saves=True)
    ((context,), _) = run.load(waiting(run), run.gate.clock())
    held = Held(run.gate, bundled=True, before=lambda: held.let_go())
    held.begin(context.row, None, "agent")
    world.platform.journal.clear()
    row_of(context).save()
    held.send()
    held.end()
    assert (world.requests(), held.refused) == ([], None)
