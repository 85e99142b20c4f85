"""A name that existing code imports from here."""

from encord_agents.core.data_model import Base64Formats

__all__ = ["Base64Formats"]
