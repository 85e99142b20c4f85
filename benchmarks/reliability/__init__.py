"""What goes wrong, and what it costs: this library and its peer, run over the same trouble."""
