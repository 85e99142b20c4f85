"""Storage items by data hash, for existing code. New code asks for the `StorageItem`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import ClassVar, Final
from uuid import UUID

from encord.dataset import Dataset
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

    __instances__: ClassVar[dict[UUID, DataLookup]] = {}

    def __init__(
        self, dataset_hashes: Sequence[str | UUID] | None = None, *, client: EncordUserClient | None = None
    ) -> None:
        self._dataset_hashes = dataset_hashes or ()
        self._client = client

    @classmethod
    def sharable(cls, project: Project, client: EncordUserClient | None = None) -> DataLookup:
        """Return a lookup in the project's datasets, for use as a dependency.

        Without a client, as existing code calls it, a process has one lookup for each project.
        """
        project_hash = UUID(str(project.project_hash))
        if client is None and project_hash in cls.__instances__:
            return cls.__instances__[project_hash]
        lookup = cls([dataset.dataset_hash for dataset in project.list_datasets()], client=client)
        if client is None:
            cls.__instances__[project_hash] = lookup
        return lookup

    @cached_property
    def user_client(self) -> EncordUserClient:
        """The client."""
        return get_user_client() if self._client is None else self._client

    @cached_property
    def datasets(self) -> dict[UUID, Dataset]:
        """The datasets by their hashes, with all that were passed to methods. Fetched when first needed."""
        return {UUID(str(one)): self.user_client.get_dataset(str(one)) for one in self._dataset_hashes}

    @cached_property
    def data_rows(self) -> dict[str, DataRow]:
        """The data rows of these datasets by their data hashes."""
        return {str(row.uid): row for dataset in self.datasets.values() for row in dataset.data_rows}

    def get_data_row(self, data_hash: str | UUID, dataset_hash: str | UUID | None = None) -> DataRow:
        """Return a data row.

        Args:
            data_hash: Its data hash.
            dataset_hash: Its dataset, which is fetched, also for a second time, if none of those fetched has it.

        Raises:
            ValueError: None of the datasets has it.
        """
        row = self.data_rows.get(str(data_hash))
        if row is None and dataset_hash is not None:
            dataset = self.user_client.get_dataset(str(dataset_hash))
            self.datasets[UUID(str(dataset_hash))] = dataset
            self.data_rows.update({str(one.uid): one for one in dataset.data_rows})
            row = self.data_rows.get(str(data_hash))
        if row is None:
            raise ValueError(f"There is no data row {data_hash} in {len(self.datasets)} datasets.")
        return row

    @property
    def backing_item_uuids(self) -> list[UUID]:
        """The uuids of all storage items."""
        return [row.backing_item_uuid for row in self.data_rows.values()]

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
        items = {item.uuid: item for item in self.user_client.get_storage_items(uuids, sign_url=sign_urls)}
        return [items[uuid] for uuid in uuids]
