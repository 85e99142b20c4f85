"""The command line: `encord-agents`."""
