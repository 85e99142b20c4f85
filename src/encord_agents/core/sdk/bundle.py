"""Many payloads in one request, without the SDK's deep copies of them.

Read from encord 0.1.180 and 0.1.211: methods that take a ``bundle`` call its ``add(operation=..., result_mapper=...,
payload=..., limit=...)`` instead of making their request, and use nothing else of it. `Bundle.execute` merges payloads
(``payload.add(other)``), calls ``operation(**asdict(payload))`` for each batch of at most ``limit`` of them, and passes
each result to the handler with the result's predicate.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from functools import reduce
from typing import Any

from encord.http.bundle import Bundle, BundleResultHandler, BundleResultMapper

from encord_agents.core.sdk.seam import Seam, names_in

__all__ = ["BUNDLE", "Parcel", "SharingBundle", "new_bundle", "packed", "send_alone"]

ADDED = ("operation", "result_mapper", "payload", "limit")


def _differences() -> Iterator[str]:
    if tuple(inspect.signature(Bundle.add).parameters)[1:] != ADDED:
        yield f"Bundle.add() does not take {', '.join(ADDED)}"
    if "asdict" not in names_in(Bundle.execute):
        yield "Bundle.execute() does not send copies"
    for kind, expected in (
        (BundleResultMapper, {"result_mapping_predicate", "result_handler"}),
        (BundleResultHandler, {"predicate", "handler"}),
    ):
        if {field.name for field in fields(kind)} != expected:
            yield f"{kind.__name__} has other fields"


BUNDLE = Seam(
    does="sends many things at once without the SDK's deep copies of them",
    read_from=("0.1.180", "0.1.211"),
    reads=(
        "encord.http.bundle.Bundle",
        "encord.http.bundle.BundledOperation",
        "encord.http.bundle.BundleResultMapper",
        "encord.http.bundle.BundleResultHandler",
        "encord.http.bundle.bundled_operation",
    ),
    differences=_differences,
    otherwise="the SDK's own bundles are sent, and labels are not kept as they were loaded",
)


def new_bundle(seen: Callable[[str, Any], None] | None = None) -> Bundle:
    """Return an empty bundle: `SharingBundle`, or the SDK's own if the SDK is not as expected."""
    return SharingBundle(seen) if BUNDLE.holds else Bundle()


class SharingBundle(Bundle):
    """A bundle of the SDK that sends its payloads themselves, not deep copies.

    The SDK's own bundle copies every value of every label (`dataclasses.asdict`) before serialising it as JSON, which
    takes a quarter of the CPU time of a run that saves labels. Nothing changes in between, so the copy is unnecessary.
    The only part of the SDK that is used is how its methods add to a bundle; requests are the same, byte for byte.

    Args:
        seen: Called with a handler's name and its result, before the handler uses the result.
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
        """Add a payload. The SDK's methods call this instead of making their request."""
        added = self._added.get(operation)
        if added is None:
            added = self._added[operation] = _Operation(limit)
        added.payloads.append(payload)
        if result_mapper is not None:
            added.name_of = result_mapper.result_mapping_predicate
            added.handlers[result_mapper.result_handler.predicate] = result_mapper.result_handler.handler

    def execute(self) -> None:
        """Make the requests, and pass each result to its handler.

        Raises:
            EncordException: The platform refused a request, or did not respond.
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


def send_alone(method: Callable[..., object]) -> None:
    """Call a method of the SDK that makes one request, but make the same request without a deep copy.

    Args:
        method: A method that takes a ``bundle``, and does not use the response.
    """
    bundle = new_bundle()
    method(bundle=bundle)
    bundle.execute()


@dataclass(frozen=True, slots=True)
class Parcel:
    """The payload that one of the SDK's methods would send. It may be added to bundles at any time and repeatedly.

    Attributes:
        payload: The payload, as the SDK holds it.
    """

    payload: Any
    _added: Callable[[Bundle], None]

    def add_to(self, bundle: Bundle) -> None:
        self._added(bundle)


def packed(method: Callable[..., object], *args: object) -> Parcel:
    """Return the payload that a method of the SDK would send, without sending it.

    Args:
        method: A method that takes a ``bundle``, and does not use the response: `LabelRowV2.save`,
            `LabelRowV2.set_priority`.

    Raises:
        Exception: The SDK refuses the call.
    """
    packing = _Packing()
    method(*args, bundle=packing)
    (parcel,) = packing.parcels
    return parcel


class _Packing(Bundle):
    """A bundle that only collects payloads, whatever arguments a bundle's ``add`` takes."""

    def __init__(self) -> None:
        super().__init__()
        self.parcels: list[Parcel] = []

    def add(self, *args: Any, **named: Any) -> None:
        def add_to(bundle: Bundle) -> None:
            if isinstance(bundle, SharingBundle):
                bundle.add(*args, **named)
            else:  # copies, since the SDK's own bundle merges the other payloads into the first one
                bundle.add(*map(_own, args), **{name: _own(value) for name, value in named.items()})

        payload = next((value for value in (*args, *named.values()) if _is_payload(value)), None)
        self.parcels.append(Parcel(payload, add_to))


def _is_payload(value: object) -> bool:
    return is_dataclass(value) and not isinstance(value, BundleResultMapper)


def _own(value: Any) -> Any:
    return copy.deepcopy(value) if _is_payload(value) else value


def _fresh(payload: Any) -> Any:
    """Return a payload with lists of its own, since the SDK extends the lists of a bundle's first payload."""
    lists = {field.name: getattr(payload, field.name) for field in fields(payload)}
    return replace(payload, **{name: list(value) for name, value in lists.items() if isinstance(value, list)})


def _plain(value: Any) -> Any:
    """Return a value with dictionaries in place of dataclasses, which the SDK's operations do not accept."""
    if isinstance(value, list):
        return [asdict(part) if is_dataclass(part) else part for part in value]  # type: ignore[arg-type]
    return asdict(value) if is_dataclass(value) else value  # type: ignore[arg-type]
