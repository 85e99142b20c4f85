"""Data rows and storage items by data hash."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import pytest

from encord_agents.core.data_lookup import DataLookup

if TYPE_CHECKING:
    from tests.conftest import World

pytestmark = pytest.mark.filterwarnings("ignore:DataLookup is deprecated:DeprecationWarning")


@pytest.fixture
def hashes(world: World) -> list[str]:
    return [str(data_hash) for data_hash in world.project.add_placeholders(3)]


@pytest.fixture
def dataset(world: World) -> str:
    (one,) = world.client.get_project(world.project.project_hash).list_datasets()
    return str(one.dataset_hash)


@pytest.mark.parametrize("kind", [str, UUID])
def test_rows_and_items(world: World, hashes: list[str], dataset: str, kind: type) -> None:
    """By hashes as text or as UUIDs; items in the order of the data hashes, as often as they are named."""
    lookup = DataLookup([kind(dataset)], client=world.client)
    wanted = [hashes[2], hashes[0], hashes[2]]
    rows = [lookup.get_data_row(kind(data_hash)) for data_hash in wanted]
    assert [str(row.uid) for row in rows] == wanted
    items = lookup.get_storage_items([kind(data_hash) for data_hash in wanted])
    assert [item.uuid for item in items] == [row.backing_item_uuid for row in rows]
    assert lookup.get_storage_item(kind(hashes[1])).uuid in lookup.backing_item_uuids
    assert len(lookup.backing_item_uuids) == 3


def test_a_further_dataset(world: World, hashes: list[str], dataset: str) -> None:
    """One that is named in the call is looked in after the lookup's own."""
    lookup = DataLookup(client=world.client)
    assert lookup.backing_item_uuids == []
    with pytest.raises(ValueError, match="in 0 datasets"):
        lookup.get_data_row(hashes[0])
    assert str(lookup.get_data_row(hashes[0], dataset).uid) == hashes[0]
    assert lookup.get_storage_item(hashes[0], dataset).name == lookup.get_data_row(hashes[0], dataset).title


def test_a_row_that_was_added_later(world: World, hashes: list[str], dataset: str) -> None:
    """It is found where its dataset is named in the call."""
    lookup = DataLookup([dataset], client=world.client)
    assert len(lookup.data_rows) == 3
    (added,) = (str(data_hash) for data_hash in world.project.add_placeholders(1))
    with pytest.raises(ValueError, match=f"no data row {added} in 1 datasets"):
        lookup.get_data_row(added)
    assert str(lookup.get_data_row(added, dataset).uid) == added


def test_its_parts(world: World, hashes: list[str], dataset: str) -> None:
    """Existing code reads the client, the datasets by their hashes, and the data rows by theirs."""
    lookup = DataLookup([dataset], client=world.client)
    assert lookup.user_client is world.client
    assert [(uuid, str(one.dataset_hash)) for uuid, one in lookup.datasets.items()] == [(UUID(dataset), dataset)]
    assert list(lookup.data_rows) == hashes
    assert [row.backing_item_uuid for row in lookup.data_rows.values()] == lookup.backing_item_uuids
    further = DataLookup(client=world.client)
    further.get_data_row(hashes[0], dataset)
    assert (list(further.datasets), list(further.data_rows)) == ([UUID(dataset)], hashes)


def test_no_such_row(world: World, hashes: list[str], dataset: str) -> None:
    """One unknown hash among several is an error that names it."""
    unknown = uuid4()
    lookup = DataLookup([dataset], client=world.client)
    with pytest.raises(ValueError, match=f"no data row {unknown} in 1 datasets"):
        lookup.get_storage_items([hashes[0], unknown])


def test_a_dataset_is_listed_once(world: World, hashes: list[str], dataset: str) -> None:
    """However many rows are asked for."""
    lookup = DataLookup([dataset], client=world.client)
    lookup.get_data_row(hashes[0])
    world.platform.journal.clear()
    assert {str(lookup.get_data_row(data_hash).uid) for data_hash in hashes} == set(hashes)
    assert world.platform.journal.count() == 0


def test_of_a_project(world: World, hashes: list[str]) -> None:
    """The lookup that agents share looks in all of the project's datasets."""
    lookup = DataLookup.sharable(world.client.get_project(world.project.project_hash), world.client)
    assert [str(lookup.get_data_row(data_hash).uid) for data_hash in hashes] == hashes


def test_by_hand(world: World, hashes: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Called by hand, there is one lookup for each project, with the environment's client; with a client, a new one."""
    for name, value in world.platform.environment().items():
        monkeypatch.setenv(name, value)
    project = world.client.get_project(world.project.project_hash)
    shared = DataLookup.sharable(project)
    assert DataLookup.sharable(project) is shared
    assert list(shared.data_rows) == hashes
    assert DataLookup.sharable(project, world.client) is not shared
    other = world.platform.create_project(workflow={"stages": [{"title": "A", "type": "agent"}]})
    assert DataLookup.sharable(world.client.get_project(other.project_hash)) is not shared
