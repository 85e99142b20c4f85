"""Task agents for the Encord platform: Python functions that serve the stages of a workflow."""

__version__ = "0.3.0.dev0"
