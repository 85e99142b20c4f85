"""Annotations and dependencies for editor agents; existing code imports them from here."""

from encord_agents.editor.aliases import *  # noqa: F403
from encord_agents.editor.aliases import __all__ as __all__
