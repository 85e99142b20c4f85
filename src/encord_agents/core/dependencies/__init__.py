"""Dependency injection: a function declares its needs in its signature, and they are supplied.

There are three steps, each in a module: users write `Depends` (`models`), `plan` reads a signature once, when an agent
is decorated, and `solve` carries out the plan, once per attempt. `scope` holds the dependencies that live as long as
the run, and `lifetime` sets up and tears down a single one. Nothing here knows about Encord: the caller passes the
types that it can supply.
"""

from encord_agents.core.dependencies.models import Depends

__all__ = ["Depends"]
