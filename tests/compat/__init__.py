"""Programs for `encord-agents` 0.2.10, and what became of them there, recorded as data."""
