"""The engine's bundles ask for the same as the SDK's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from encord.exceptions import EncordException
from encord.http.bundle import Bundle, BundleResultHandler, BundleResultMapper
from encord.workflow import AgentStage

from encord_agents.core.sdk.bundle import BUNDLE, SharingBundle, packed, send_alone
from encord_agents.local import Fault

if TYPE_CHECKING:
    from tests.conftest import World

KINDS = ["label_create", "label_get", "save", "priorities", "actions"]


def fill(world: World, kind: str, bundle: Bundle) -> None:
    project = world.client.get_project(world.project.project_hash)
    rows = project.list_label_rows_v2(include_workflow_graph_node=True)
    if kind == "save":
        with project.create_bundle() as first:
            for row in rows:
                row.initialise_labels(bundle=first)
    for row in rows:
        if kind.startswith("label"):
            row.initialise_labels(include_object_feature_hashes={"abcdefgh"}, include_reviews=True, bundle=bundle)
        elif kind == "save":
            row.save(bundle=bundle)
        elif kind == "priorities":
            row.set_priority(0.25, bundle=bundle)
    if kind == "actions":
        stage = project.workflow.get_stage(name="Pre-label", type_=AgentStage)
        for task in stage.get_tasks():
            task.proceed(pathway_name="review", bundle=bundle)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_requests(world: World, kind: str) -> None:
    """Each of the engine's bundled requests is the one that the SDK's bundle sends, byte by byte."""
    world.project.add_placeholders(3)
    project = world.client.get_project(world.project.project_hash)
    if kind != "label_create":
        for row in project.list_label_rows_v2():
            row.initialise_labels()
            world.mark(row)
            row.save()
    world.platform.faults.add(Fault(kind, status=400, times=None))  # so that the second finds what the first found
    bodies = []
    for bundle in (Bundle(), SharingBundle()):
        fill(world, kind, bundle)
        world.platform.journal.clear()
        with pytest.raises(EncordException):
            bundle.execute()
        (entry,) = world.platform.journal
        assert entry.kind == kind
        bodies.append(entry.body)
    assert bodies[0] == bodies[1]


@pytest.mark.parametrize("holds", [True, False])
def test_a_request_of_its_own(world: World, monkeypatch: pytest.MonkeyPatch, holds: bool) -> None:
    """A save outside a bundle is the SDK's request, byte by byte, and raises the SDK's error: also where the SDK's
    bundles are not as they were, and its own one is taken."""
    monkeypatch.setattr(type(BUNDLE), "holds", property(lambda _: holds))
    world.project.add_placeholders(1)
    (row,) = world.client.get_project(world.project.project_hash).list_label_rows_v2()
    row.initialise_labels()
    world.mark(row)
    world.platform.journal.clear()
    row.save()
    send_alone(lambda bundle=None: row.save(bundle, validate_before_saving=True))
    send_alone(lambda bundle=None: row.set_priority(0.25, bundle))
    row.save(validate_before_saving=True)
    first, ours, priority, theirs = world.platform.journal
    assert [entry.kind for entry in (first, ours, priority, theirs)] == ["save", "save", "priorities", "save"]
    assert ours.body == theirs.body != first.body
    world.platform.faults.add(Fault("save", status=400))
    with pytest.raises(EncordException):
        send_alone(lambda bundle=None: row.save(bundle))


@dataclass
class Part:
    names: list[str]

    def add(self, other: Part) -> Part:
        self.names.extend(other.names)
        return self


@dataclass
class Inner:
    text: str


@dataclass
class Nested:
    inner: list[Inner]
    one: Inner


def test_limits_and_answers() -> None:
    """No request has more than its limit, and each answer goes to who asked for it, in whatever order they come."""
    asked: list[list[str]] = []
    got: dict[str, str] = {}

    def operation(names: list[str]) -> list[str]:
        asked.append(names)
        return [f"{name}!" for name in reversed(names)]

    def add(name: str) -> None:
        handler = BundleResultHandler[str](name, lambda answer: got.update({name: answer}))
        bundle.add(operation, BundleResultMapper(lambda answer: answer.rstrip("!"), handler), Part([name]), 2)

    bundle = SharingBundle()
    for name in "abcde":
        add(name)
    bundle.execute()
    assert asked == [["a", "b"], ["c", "d"], ["e"]]
    assert got == {name: f"{name}!" for name in "abcde"}
    bundle.execute()
    assert len(asked) == 3, "what was asked for is not asked for again"


def test_dataclasses_inside() -> None:
    """Where a payload holds dataclasses, the operation gets dictionaries, as from the SDK's bundle."""
    seen: list[Any] = []

    def operation(**fields: Any) -> list[Any]:
        seen.append(fields)
        return []

    for bundle in (Bundle(), SharingBundle()):
        bundle.add(operation, None, Nested([Inner("a")], Inner("b")), 10)
        bundle.execute()
    assert seen[0] == seen[1] == {"inner": [{"text": "a"}], "one": {"text": "b"}}


def test_a_parcel_is_sent_as_often_as_it_is_added(world: World) -> None:
    """Parcels that were in a bundle with others are not changed by that: a bundle may be split, and sent again."""
    world.project.add_placeholders(3)
    rows = world.client.get_project(world.project.project_hash).list_label_rows_v2(include_workflow_graph_node=True)
    parcels = [packed(row.set_priority, 0.25) for row in rows]
    assert not world.requests("priorities")
    for part in (parcels, parcels[:1], parcels[1:]):
        bundle = SharingBundle()
        for parcel in part:
            parcel.add_to(bundle)
        bundle.execute()
    assert [entry.items for entry in world.platform.journal.of("priorities")] == [3, 1, 2]


def test_packing_says_what_the_sdk_says(world: World) -> None:
    """What cannot be saved is refused when it is packed."""
    world.project.add_placeholders(1)
    (row,) = world.client.get_project(world.project.project_hash).list_label_rows_v2()
    with pytest.raises(EncordException, match=r"initiali[sz]e labelling"):
        packed(row.save)
