"""Dependency injection: what a function asks for in its signature, it is given.

Three steps, a module each: `models` is what users write (`Depends`), `plan` reads a signature once, when an agent is
decorated, and `solve` carries the plan out, once per attempt. `scope` holds what lives as long as the run, `lifetime`
how a single dependency is set up and torn down. Nothing here knows Encord: the caller says which types it can supply.
"""

from encord_agents.core.dependencies.models import Depends

__all__ = ["Depends"]
