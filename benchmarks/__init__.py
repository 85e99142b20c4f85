"""How fast, how lean and how steady: measured side by side with `encord-agents` 0.2.10, see `docs/performance.md`."""
