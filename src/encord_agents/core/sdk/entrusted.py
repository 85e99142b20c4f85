"""Label rows that delegate their saves to a `Saver`.

The row that is passed to an agent becomes an instance of a subclass. Its `save` and `set_priority`, called without a
bundle, delegate to the row's saver, which also checks saves in bundles, and it records whether an agent loaded its
labels again, but only some of them. Every other row, and everything else about this one, is as the SDK made it.

Read from encord 0.1.180 and 0.1.211: both methods take a ``bundle``, and make one request if there is none.
`LabelRowV2.initialise_labels` passes the response to the row's `from_labels_dict`, at once or when its bundle is
executed. `EncordClientProject.workflow_set_priority` sends priorities as `TaskPriorityParams` holds them.
"""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Iterator
from math import isfinite
from typing import Any, Protocol

from encord.objects import LabelRowV2
from encord.orm.project import TaskPriorityParams

from encord_agents.core.sdk.as_loaded import state_of
from encord_agents.core.sdk.once import ONCE
from encord_agents.core.sdk.seam import Seam, names_in

__all__ = ["ENTRUSTED", "Saver", "Send", "can_hold_saves", "entrust", "in_part_of", "saving_itself", "sent_priorities"]

SAVER = "_encord_agents_saver"
IN_PART = "_encord_agents_in_part"
LOADING = "_encord_agents_loading_in_part"
METHODS = ("save", "set_priority")
FILTERS = ("include_object_feature_hashes", "include_classification_feature_hashes")

Send = Callable[..., None]
"""Calls the SDK's own method, with the agent's arguments: ``send()``, or ``send(bundle=...)``."""


def _differences() -> Iterator[str]:
    for name in METHODS:
        method = getattr(LabelRowV2, name)
        if "bundle" not in inspect.signature(method).parameters or "bundled_operation" not in names_in(method):
            yield f"LabelRowV2.{name}() does not leave its request to a bundle"
    if [*TaskPriorityParams(priorities=[("a", 0.5)]).priorities] != [("a", 0.5)]:
        yield "TaskPriorityParams does not hold pairs"


ENTRUSTED = Seam(
    does="has agents' own saves, of their task's row, wait for others",
    read_from=("0.1.180", "0.1.211"),
    reads=(
        "encord.objects.LabelRowV2.save",
        "encord.objects.LabelRowV2.set_priority",
        "encord.client.EncordClientProject.workflow_set_priority",
    ),
    differences=_differences,
    otherwise="they are requests of their own, whether bundle_saves is on or not",
)


class Saver(Protocol):
    """Receives a label row's saves."""

    def check(self, row: LabelRowV2) -> None:
        """Raise if ``row.save(bundle=...)`` must not be made. The bundle is the agent's own, and so is its request."""

    def save(self, row: LabelRowV2, send: Send) -> None:
        """Handle ``row.save()``."""

    def set_priority(self, row: LabelRowV2, send: Send) -> None:
        """Handle ``row.set_priority(...)``."""


def can_hold_saves() -> bool:
    """Return True if saves can be held: their payloads can be kept, and other requests are detected."""
    return ENTRUSTED.holds and ONCE.holds


def entrust(row: LabelRowV2, saver: Saver, in_part: object = None) -> None:
    """Delegate the saves of a label row and its copies to a saver from now on. Pickles are plain rows of the SDK.

    Args:
        in_part: The state (`state_of`) of the row if only some of its labels were loaded; ``None`` if all were, unless
            an earlier attempt loaded it in part.
    """
    if type(row) is LabelRowV2 and ENTRUSTED.holds:
        row.__class__ = _EntrustedRow
    if isinstance(row, _EntrustedRow):
        row.__dict__[SAVER] = saver
        if in_part is not None:
            row.__dict__[IN_PART] = in_part


def saving_itself(row: LabelRowV2) -> LabelRowV2:
    """Return a shallow copy of a label row whose saves are the SDK's own again."""
    made = copy.copy(row)
    made.__dict__.pop(SAVER, None)
    return made


def in_part_of(row: LabelRowV2) -> object:
    """Return the state in which an entrusted row, a copy or a pickle is loaded only in part; ``None`` if none."""
    return row.__dict__.get(IN_PART)


def sent_priorities(priorities: list[tuple[str, Any]]) -> list[tuple[str, float]]:
    """Return priorities as the SDK sends them.

    Raises:
        ValueError: One is not a number, or cannot be sent, so that the SDK would make no request. (Pydantic's
            ``ValidationError`` is a ``ValueError``.)
    """
    checked = [(name, float(priority)) for name, priority in TaskPriorityParams(priorities=priorities).priorities]
    for _, priority in checked:
        if not isfinite(priority):
            raise ValueError(f"A priority is a number from 0 to 1, and cannot be {priority}.")
    return checked


class _EntrustedRow(LabelRowV2):
    @functools.wraps(LabelRowV2.save)
    def save(  # type: ignore[override]
        self, bundle: Any = None, *args: Any, **options: Any
    ) -> None:
        saver: Saver | None = self.__dict__.get(SAVER)
        if bundle and saver is not None:
            saver.check(self)
        if bundle or saver is None:
            LabelRowV2.save(self, bundle, *args, **options)
            return
        saver.save(self, lambda bundle=None: LabelRowV2.save(self, bundle, *args, **options))

    @functools.wraps(LabelRowV2.set_priority)
    def set_priority(  # type: ignore[override]
        self, priority: float, bundle: Any = None, *args: Any, **options: Any
    ) -> None:
        saver: Saver | None = self.__dict__.get(SAVER)
        if bundle or saver is None:
            LabelRowV2.set_priority(self, priority, bundle, *args, **options)
            return
        saver.set_priority(self, lambda bundle=None: LabelRowV2.set_priority(self, priority, bundle, *args, **options))

    @functools.wraps(LabelRowV2.initialise_labels)
    def initialise_labels(  # type: ignore[override]
        self, *args: Any, **options: Any
    ) -> None:
        given = inspect.signature(LabelRowV2.initialise_labels).bind(self, *args, **options).arguments
        self.__dict__[LOADING] = any(given.get(name) is not None for name in FILTERS)
        try:
            LabelRowV2.initialise_labels(self, *args, **options)
        except BaseException:
            self.__dict__.pop(LOADING, None)
            raise

    @functools.wraps(LabelRowV2.from_labels_dict)
    def from_labels_dict(  # type: ignore[override]
        self, *args: Any, **options: Any
    ) -> None:
        try:
            LabelRowV2.from_labels_dict(self, *args, **options)
        except BaseException:
            # The SDK says so before it reads the labels: with some of them, the row must not be saved.
            self._is_labelling_initialised = False
            raise
        if self.__dict__.pop(LOADING, False):
            self.__dict__[IN_PART] = state_of(self)

    def __copy__(self) -> _EntrustedRow:
        made: _EntrustedRow = _blank(_EntrustedRow)
        made.__dict__.update(self.__dict__)
        return made

    def __deepcopy__(self, memo: dict[int, Any]) -> _EntrustedRow:
        made: _EntrustedRow = _blank(_EntrustedRow)
        memo[id(self)] = made
        for shared in (self.__dict__.get(SAVER), self._project_client):
            memo[id(shared)] = shared
        made.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return made

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        state = {name: value for name, value in self.__dict__.items() if name != SAVER}
        return _blank, (LabelRowV2,), state


_EntrustedRow.__name__, _EntrustedRow.__qualname__ = LabelRowV2.__name__, LabelRowV2.__qualname__
_EntrustedRow.__module__ = LabelRowV2.__module__


def _blank(kind: type) -> Any:
    return object.__new__(kind)
