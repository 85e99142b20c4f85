"""The cache in use: the runner's within an attempt, and the environment's elsewhere."""

from __future__ import annotations

from contextvars import ContextVar
from pathlib import Path
from typing import Literal

from encord_agents.core.cache.assets import AssetCache

__all__ = ["cache_for", "cache_in_use", "use_cache"]

_in_use: ContextVar[AssetCache | Literal["environment"] | None] = ContextVar("asset cache", default="environment")
_known: dict[tuple[str, int], AssetCache] = {}


def cache_for(directory: str | Path | None = None, size: int | str | None = None) -> AssetCache | None:
    """Return the cache in a directory, the same one each time within a process.

    Args:
        directory: The directory; ``~`` is expanded. Default: that of the environment variable ``ENCORD_AGENTS_CACHE``.
        size: The maximum size in bytes, or as text: ``"50 GB"``. Default: that of ``ENCORD_AGENTS_CACHE_SIZE``,
            or 20 GB.

    Returns:
        ``None`` if no directory is given, and the environment names none.

    Raises:
        PrintableError: The directory is a file, or the size is not a valid size.
    """
    from encord_agents.core.settings import CacheSettings  # pydantic-settings takes a while to import

    settings = CacheSettings.checked(directory, size)
    if settings.directory is None:
        return None
    key = str(settings.directory), int(settings.size)
    return _known.setdefault(key, AssetCache(settings.directory, settings.size))


def use_cache(cache: AssetCache | None) -> None:
    """Use this cache, or none, for all files that are asked for in the current context."""
    _in_use.set(cache)


def cache_in_use() -> AssetCache | None:
    """Return the current context's cache. Default: the environment's."""
    cache = _in_use.get()
    return cache_for() if cache == "environment" else cache
