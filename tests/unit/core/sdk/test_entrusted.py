"""Label rows that leave it to somebody else to save them."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from encord.http.bundle import Bundle
from encord.objects import LabelRowV2

from encord_agents.core.sdk.as_loaded import state_of
from encord_agents.core.sdk.entrusted import Send, entrust, in_part_of, saving_itself, sent_priorities
from encord_agents.local import AgentStage, LocalPlatform, Stage, Workflow


def _keys_can_be_copied() -> bool:
    try:
        copy.deepcopy(Ed25519PrivateKey.generate())
    except TypeError:
        return False
    return True


WAYS = [
    copy.copy,
    pytest.param(
        copy.deepcopy,
        marks=pytest.mark.skipif(not _keys_can_be_copied(), reason="a newer cryptography can copy the client's key"),
    ),
]


class Keeper:
    """Keeps how rows would save themselves, and refuses saves in bundles where it is told to."""

    def __init__(self, refusal: Exception | None = None) -> None:
        self.kept: list[tuple[str, LabelRowV2, Send]] = []
        self.refusal = refusal

    def check(self, row: LabelRowV2) -> None:
        if self.refusal is not None:
            raise self.refusal

    def save(self, row: LabelRowV2, send: Send) -> None:
        self.kept.append(("save", row, send))

    def set_priority(self, row: LabelRowV2, send: Send) -> None:
        self.kept.append(("set_priority", row, send))


@pytest.fixture
def row(local_platform: LocalPlatform) -> LabelRowV2:
    workflow = Workflow([AgentStage("A", {"b": "B"}), Stage("B", "done")])
    project = local_platform.create_project(workflow=workflow)
    project.add_placeholders(1)
    (row,) = local_platform.client().get_project(project.project_hash).list_label_rows_v2()
    row.initialise_labels()
    local_platform.journal.clear()
    return row


def test_what_is_left_to_whom(row: LabelRowV2, local_platform: LocalPlatform) -> None:
    """Both methods without a bundle; what they would have done can be done later, with the same arguments."""
    keeper = Keeper()
    entrust(row, keeper)
    row.save(None, True)
    row.save(validate_before_saving=True)
    row.set_priority(priority=0.5)
    assert [name for name, _, _ in keeper.kept] == ["save", "save", "set_priority"]
    assert not len(local_platform.journal)
    for _, _, send in keeper.kept:
        send()
    bodies = [entry.body for entry in local_platform.journal.of("save")]
    assert len(bodies) == 2
    assert all('"validate_before_saving": true' in body for body in bodies)
    assert local_platform.journal.count("priorities") == 1


def test_a_bundle_of_the_user(row: LabelRowV2, local_platform: LocalPlatform) -> None:
    """It is the user's own: the saver gets nothing to keep."""
    keeper = Keeper()
    entrust(row, keeper)
    bundle = Bundle()
    row.save(bundle=bundle)
    row.set_priority(0.5, bundle)
    bundle.execute()
    assert keeper.kept == []
    assert local_platform.journal.kinds() == {"save": 1, "priorities": 1}


def test_a_bundle_that_is_refused(row: LabelRowV2, local_platform: LocalPlatform) -> None:
    """The saver may refuse a save in a bundle, of a copy too: its exception passes, and nothing is in the bundle."""
    entrust(row, Keeper(PermissionError("not now")))
    bundle = Bundle()
    for one in (row, copy.copy(row)):
        with pytest.raises(PermissionError, match="not now"):
            one.save(bundle=bundle)
    row.set_priority(0.5, bundle)
    bundle.execute()
    assert local_platform.journal.kinds() == {"priorities": 1}


@pytest.mark.parametrize("way", WAYS)
def test_copies(row: LabelRowV2, way: Callable[[Any], Any]) -> None:
    """They are entrusted to the same, and have labels of their own where they are deep."""
    keeper = Keeper()
    entrust(row, keeper)
    copied = way(row)
    copied.save()
    assert keeper.kept[0][1] is copied
    assert copied._project_client is row._project_client
    assert (copied._label_row_read_only_data is row._label_row_read_only_data) is (way is copy.copy)


@pytest.mark.parametrize("way", WAYS)
def test_copies_of_rows_in_part(row: LabelRowV2, way: Callable[[Any], Any]) -> None:
    """They are no more whole than the row, until they are loaded anew."""
    entrust(row, Keeper(), state_of(row))
    copied = way(row)
    assert in_part_of(copied) is state_of(copied)
    copied.initialise_labels(overwrite=True)
    assert in_part_of(copied) is not state_of(copied)


def test_pickles(row: LabelRowV2) -> None:
    """What is made of them is a plain row, if any is: those of the SDK do not pickle in all versions."""
    entrust(row, Keeper())
    make, (kind,), state = row.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
    assert type(make(kind)) is kind is LabelRowV2
    assert not any("agents" in name for name in state)


def test_a_copy_that_saves_itself(row: LabelRowV2, local_platform: LocalPlatform) -> None:
    """It has the row's labels, and the row itself remains entrusted."""
    keeper = Keeper()
    entrust(row, keeper)
    saving_itself(row).save()
    assert local_platform.journal.count("save") == 1
    row.save()
    assert [name for name, _, _ in keeper.kept] == ["save"]
    assert local_platform.journal.count("save") == 1


def test_it_looks_like_the_sdks(row: LabelRowV2) -> None:
    """Its name, its signatures, and what is said of wrong arguments."""
    signatures = [inspect.signature(LabelRowV2.save), inspect.signature(LabelRowV2.set_priority)]
    entrust(row, Keeper())
    assert isinstance(row, LabelRowV2)
    assert (type(row).__name__, type(row).__module__) == (LabelRowV2.__name__, LabelRowV2.__module__)
    assert [inspect.signature(type(row).save), inspect.signature(type(row).set_priority)] == signatures
    with pytest.raises(TypeError, match=r"LabelRowV2\.set_priority\(\) missing 1 required positional argument"):
        row.set_priority()  # type: ignore[call-arg]


@pytest.mark.parametrize("given", ["high", None, float("nan"), float("inf")])
def test_priorities_that_cannot_be_sent(given: Any) -> None:
    """They are refused, as the SDK refuses them."""
    with pytest.raises(ValueError, match="riorit"):
        sent_priorities([("a", given)])


def test_priorities() -> None:
    """Numbers of any kind are sent as floats."""
    assert sent_priorities([("a", 1), ("b", "0.5")]) == [("a", 1.0), ("b", 0.5)]


def test_labels_that_cannot_be_read(row: LabelRowV2) -> None:
    """A row whose labels were read in part only does not count as loaded, so it cannot be saved without the rest."""
    entrust(row, Keeper())
    damaged = row.to_encord_dict()
    del damaged["data_units"]
    with pytest.raises(KeyError):
        row.from_labels_dict(damaged)
    assert not row.is_labelling_initialised
    row.initialise_labels(overwrite=True)
    assert row.is_labelling_initialised
