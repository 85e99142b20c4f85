"""The core behind every runner: poll, load, execute, write."""
