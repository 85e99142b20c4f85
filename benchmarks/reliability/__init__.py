"""Failures and their cost: this library and its peer, run over the same trouble."""
