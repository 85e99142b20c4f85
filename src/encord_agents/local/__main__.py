"""``python -m encord_agents.local``: the same as ``encord-agents local``."""

from __future__ import annotations

import sys

from encord_agents.exceptions import PrintableError


def main() -> None:
    # The one look upward: nothing else here knows of the command line.
    import typer

    from encord_agents.cli.local import app

    try:
        app()
    except PrintableError as error:
        typer.echo(f"Error: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
