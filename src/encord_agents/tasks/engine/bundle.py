"""Many things in one request, without the SDK's deep copies of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from functools import reduce
from typing import Any

from encord.http.bundle import Bundle, BundleResultMapper

__all__ = ["Parcel", "SharingBundle", "packed"]


class SharingBundle(Bundle):
    """A bundle of the SDK that sends what it is given, not a copy.

    The SDK's own copies every value of every label (`dataclasses.asdict`) before it is written down as JSON: a quarter
    of the processor time of a run that saves labels. Nothing changes in between, so the copy is for nobody. All that is
    used of the SDK is how its methods add to a bundle; requests are the same, byte by byte.

    Args:
        seen: Called with each answer that has an addressee, and that one's name, before the SDK makes use of it.
    """

    def __init__(self, seen: Callable[[str, Any], None] | None = None) -> None:
        super().__init__()
        self._seen = seen
        self._added: dict[Any, _Operation] = {}

    def add(
        self,
        operation: Callable[..., list[Any]],
        result_mapper: BundleResultMapper[Any] | None,
        payload: Any,
        limit: int,
    ) -> None:
        """Called by the SDK's methods, instead of making their request."""
        added = self._added.get(operation)
        if added is None:
            added = self._added[operation] = _Operation(limit)
        added.payloads.append(payload)
        if result_mapper is not None:
            added.name_of = result_mapper.result_mapping_predicate
            added.handlers[result_mapper.result_handler.predicate] = result_mapper.result_handler.handler

    def execute(self) -> None:
        """Make the requests, and give each answer to whom it belongs.

        Raises:
            EncordException: What the platform's answer is, or that there was none.
        """
        for operation, added in self._added.items():
            for start in range(0, len(added.payloads), added.limit):
                first, *others = added.payloads[start : start + added.limit]
                payload = reduce(lambda whole, part: whole.add(part), others, _fresh(first))
                answers = operation(**{field.name: _plain(getattr(payload, field.name)) for field in fields(payload)})
                if added.name_of is None:
                    continue
                for answer in answers:
                    name = added.name_of(answer)
                    if (handler := added.handlers.get(name)) is not None:
                        if self._seen is not None:
                            self._seen(name, answer)
                        handler(answer)
        self._added = {}


class _Operation:
    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.payloads: list[Any] = []
        self.name_of: Callable[[Any], str] | None = None
        self.handlers: dict[str, Callable[[Any], None]] = {}


@dataclass(frozen=True, slots=True)
class Parcel:
    """What one of the SDK's methods would send, to be put into a bundle: now or later, once or again."""

    operation: Callable[..., list[Any]]
    payload: Any
    limit: int

    def add_to(self, bundle: SharingBundle) -> None:
        bundle.add(self.operation, None, self.payload, self.limit)


def packed(method: Callable[..., object], *args: object) -> Parcel:
    """Have a method of the SDK say what it would send, and send nothing.

    Args:
        method: One that takes a ``bundle``, and no answer: `LabelRowV2.save`, `LabelRowV2.set_priority`.

    Raises:
        Exception: What the SDK says against it.
    """
    packing = _Packing()
    method(*args, bundle=packing)
    (parcel,) = packing.parcels
    return parcel


class _Packing(Bundle):
    """A bundle that keeps what is added to it."""

    def __init__(self) -> None:
        super().__init__()
        self.parcels: list[Parcel] = []

    def add(
        self,
        operation: Callable[..., list[Any]],
        result_mapper: BundleResultMapper[Any] | None,
        payload: Any,
        limit: int,
    ) -> None:
        self.parcels.append(Parcel(operation, payload, limit))


def _fresh(payload: Any) -> Any:
    """A payload whose lists can be added to: the SDK adds the others of a bundle to those of the first."""
    lists = {field.name: getattr(payload, field.name) for field in fields(payload)}
    return replace(payload, **{name: list(value) for name, value in lists.items() if isinstance(value, list)})


def _plain(value: Any) -> Any:
    """The SDK's operations know dictionaries, where its payloads may hold dataclasses."""
    if isinstance(value, list):
        return [asdict(part) if is_dataclass(part) else part for part in value]  # type: ignore[arg-type]
    return asdict(value) if is_dataclass(value) else value  # type: ignore[arg-type]
