"""Adapters to engines that people run already. Each uses only the public API, and needs an extra of its own."""
