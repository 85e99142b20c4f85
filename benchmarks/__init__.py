"""Speed, memory and steadiness, measured side by side with `encord-agents` 0.2.10: see `docs/performance.md`."""
