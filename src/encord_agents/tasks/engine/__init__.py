"""The one core behind every runner: poll, load, execute, write."""
