"""Names that existing code imports from here."""
