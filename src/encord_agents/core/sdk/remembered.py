"""A short-lived cache for opening projects, without requesting them and their ontologies again.

Responses are cached, not projects: each caller gets a project of its own client, made by the SDK, and may change it as
it likes.

Read from encord 0.1.180 and 0.1.211: `EncordUserClient.get_project` requests the project and its ontology from
``self._api_client``, by ``get(path, params=None, result_type=...)``, and passes the same `ApiClient` to the objects
that it makes from the responses.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Hashable, Iterator
from typing import Any

from encord.client import EncordClientProject
from encord.http.v2.api_client import ApiClient
from encord.project import Project
from encord.user_client import EncordUserClient

from encord_agents.core.sdk.seam import Seam, names_in

__all__ = ["REMEMBERED", "Remembered"]

MOST = 200
"""The maximum number of cached responses."""
OPENING = "_encord_agents_opening"


def _differences() -> Iterator[str]:
    for method in (EncordUserClient.get_project, EncordUserClient.get_ontology, EncordClientProject.get_project_v2):
        if "_api_client" not in names_in(method):
            yield f"{method.__qualname__}() does not use _api_client"


REMEMBERED = Seam(
    does="opens a project again without asking for it",
    read_from=("0.1.180", "0.1.211"),
    reads=(
        "encord.user_client.EncordUserClient.get_project",
        "encord.user_client.EncordUserClient.get_ontology",
        "encord.client.EncordClientProject.get_project_v2",
        "encord.http.v2.api_client.ApiClient.get",
    ),
    differences=_differences,
    otherwise="each request of an editor agent asks for the project and its ontology",
)


class Remembered:
    """A cache of the responses that projects were recently made from. Thread-safe.

    Args:
        seconds: The time to live of a response.
        clock: Monotonic seconds.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._kept: dict[Hashable, tuple[float, Any]] = {}

    def open(self, client: EncordUserClient, project_hash: str, who: Hashable) -> Project:
        """Return a project, as ``client.get_project()`` does.

        Args:
            client: The caller's.
            project_hash: The project.
            who: The owner of the responses: domain and key.
        """
        if not REMEMBERED.holds:
            return client.get_project(project_hash)
        real = client._api_client
        kind: Any = type(real)
        asking: Any = object.__new__(_asking(kind))
        asking.__dict__.update(real.__dict__)
        asking.__dict__[OPENING] = self, who
        opener: Any = object.__new__(type(client))
        opener.__dict__.update(client.__dict__)
        opener._api_client = asking
        try:
            project: Project = opener.get_project(project_hash)
        finally:
            del asking.__dict__[OPENING]  # later requests do not use the cache
        return project

    def get(self, key: Hashable, ask: Callable[[], Any]) -> Any:
        """Return a cached response, or a new one on a cache miss."""
        # No lock: two threads that miss at the same time both send the request, and either response will do.
        asked_at = self._clock()  # before the request: the response may be as old as that
        since, answer = self._kept.get(key, (0.0, None))
        if answer is None or asked_at - since > self._seconds:
            answer = ask()
            if len(self._kept) >= MOST:
                self._kept.clear()
            self._kept[key] = asked_at, answer
        return answer.model_copy()  # a copy, which the caller may change


@functools.cache
def _asking(kind: type[ApiClient]) -> type[ApiClient]:
    """Return a subclass that uses the cache while a project is opened."""

    def get(self: Any, path: str, params: Any, result_type: Any, *args: Any, **options: Any) -> Any:
        def ask() -> Any:
            return kind.get(self, path, params, result_type, *args, **options)

        opening = self.__dict__.get(OPENING)
        if opening is None or params is not None or args or options:
            return ask()
        remembered, who = opening
        return remembered.get((who, path.strip("/"), result_type), ask)

    def reduce(self: Any, protocol: Any) -> tuple[Any, ...]:
        return object.__new__, (ApiClient,), dict(self.__dict__)

    return type(kind.__name__, (kind,), {"get": get, "__reduce_ex__": reduce, "__module__": kind.__module__})
