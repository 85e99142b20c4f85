"""Adapters for task engines that people already run. Each uses only the public API and has an extra of its own."""
