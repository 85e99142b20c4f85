"""An optional on-disk cache of storage items' files: bounded, with LRU (least recently used) eviction, process-safe.

An entry is written to a temporary file and renamed once it is complete, so no reader ever sees a partial entry. Readers
copy it, and check the copy against a checksum: an agent's changes to its own file do not affect the entry, and a
damaged entry is dropped. The cache never fails a task: if its directory cannot be written to, one warning says so.
"""

from __future__ import annotations

from encord_agents.core.cache.assets import AssetCache
from encord_agents.core.cache.entry import Entry
from encord_agents.core.cache.in_use import cache_for, cache_in_use, use_cache

__all__ = ["AssetCache", "Entry", "cache_for", "cache_in_use", "use_cache"]
