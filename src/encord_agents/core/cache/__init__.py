"""An optional cache of storage items' files on disk: bounded, least recently used, and safe for several processes.

An entry is written under another name and renamed once it is complete, so no reader ever sees half of one. Readers copy
it, and compare the copy with a checksum: what an agent does to its own file changes nothing here, and a damaged entry
is dropped. Nothing here fails a task: if the directory cannot be written to, one warning says so.
"""

from __future__ import annotations

from encord_agents.core.cache.assets import AssetCache
from encord_agents.core.cache.entry import Entry
from encord_agents.core.cache.in_use import cache_for, cache_in_use, use_cache

__all__ = ["AssetCache", "Entry", "cache_for", "cache_in_use", "use_cache"]
