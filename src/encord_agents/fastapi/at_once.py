"""Dependencies that FastAPI calls on its event loop, though they are plain functions."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

__all__ = ["AtOnce"]


class AtOnce:
    """A function that never blocks, as a dependency.

    FastAPI calls plain functions in a thread pool. The round trip takes far longer than a function that only looks at
    a header, and so does the contention for the GIL that it causes.

    It is equal to the function, so that FastAPI treats the two as one dependency: it is called once in a request,
    whichever of the two is asked for, and ``app.dependency_overrides`` of the function also override this.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.__name__ = getattr(function, "__name__", type(self).__name__)
        self.__signature__ = inspect.signature(function, eval_str=True)

    async def __call__(self, *args: Any, **values: Any) -> Any:
        return self._function(*args, **values)

    def __eq__(self, other: object) -> bool:
        return other == self._function if not isinstance(other, AtOnce) else other._function == self._function

    def __hash__(self) -> int:
        return hash(self._function)
