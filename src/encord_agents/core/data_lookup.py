"""Storage items by data hash, for existing code. New code asks for the `StorageItem`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from encord.orm.dataset import DataRow
from encord.project import Project
from encord.storage import StorageItem
from encord.user_client import EncordUserClient
from typing_extensions import deprecated

from encord_agents.core.client import get_user_client

__all__ = ["DataLookup"]

INSTEAD: Final = (
    "Ask for the StorageItem in the signature, or Annotated[StorageItem, Depends(dep_storage_item)], instead."
)


@deprecated(f"DataLookup is deprecated. {INSTEAD}")
class DataLookup:
    """Data rows and storage items of some datasets, by data hash.

    Args:
        dataset_hashes: The datasets to look in. Default: those passed to the methods.
        client: The client. Default: one made from the environment.
    """

    def __init__(
        self, dataset_hashes: Sequence[str | UUID] | None = None, *, client: EncordUserClient | None = None
    ) -> None:
        self._dataset_hashes = [str(dataset_hash) for dataset_hash in dataset_hashes or ()]
        self._client = client
        self._rows: dict[str, dict[str, DataRow]] = {}  # by dataset that was queried, then by data hash

    @classmethod
    def sharable(cls, project: Project, client: EncordUserClient | None = None) -> DataLookup:
        """Return a lookup in the project's datasets, for use as a dependency."""
        return cls([str(dataset.dataset_hash) for dataset in project.list_datasets()], client=client)

    def get_data_row(self, data_hash: str | UUID, dataset_hash: str | UUID | None = None) -> DataRow:
        """Return a data row.

        Args:
            data_hash: Its data hash.
            dataset_hash: A further dataset to look in.

        Raises:
            ValueError: None of the datasets has it.
        """
        hashes = [*self._dataset_hashes, *([] if dataset_hash is None else [str(dataset_hash)])]
        for one in hashes:
            if (row := self._rows_of(one).get(str(data_hash))) is not None:
                return row
        raise ValueError(f"There is no data row {data_hash} in {len(hashes)} datasets.")

    @property
    def backing_item_uuids(self) -> tuple[UUID, ...]:
        """The uuids of all storage items."""
        return tuple(row.backing_item_uuid for one in self._dataset_hashes for row in self._rows_of(one).values())

    def get_storage_item(
        self, data_hash: str | UUID, dataset_hash: str | UUID | None = None, sign_url: bool = False
    ) -> StorageItem:
        """Return the storage item of a data row.

        Raises:
            ValueError: There is no such data row.
        """
        (item,) = self.get_storage_items([data_hash], dataset_hash, sign_url)
        return item

    def get_storage_items(
        self, data_hashes: Sequence[str | UUID], dataset_hash: str | UUID | None = None, sign_urls: bool = False
    ) -> list[StorageItem]:
        """Return the storage items of data rows, in their order.

        Raises:
            ValueError: One of the data rows does not exist.
        """
        uuids = [self.get_data_row(data_hash, dataset_hash).backing_item_uuid for data_hash in data_hashes]
        items = {item.uuid: item for item in self._user_client().get_storage_items(uuids, sign_url=sign_urls)}
        return [items[uuid] for uuid in uuids]

    def _rows_of(self, dataset_hash: str) -> dict[str, DataRow]:
        if dataset_hash not in self._rows:
            dataset = self._user_client().get_dataset(dataset_hash)
            self._rows[dataset_hash] = {str(row.uid): row for row in dataset.data_rows}
        return self._rows[dataset_hash]

    def _user_client(self) -> EncordUserClient:
        if self._client is None:
            self._client = get_user_client()
        return self._client
