"""Authorisation of requests by the user's membership and role in projects and datasets."""

from __future__ import annotations

from encord_agents.local import users
from encord_agents.local.service import Call, Operation, Service
from encord_agents.local.trouble import forbidden


def admit(service: Service, operation: Operation, call: Call) -> None:
    """Check that the user may make a request.

    Raises:
        Refusal: 403, the user is not in the project or dataset, or the user's role there does not allow it.
    """
    if call.user == users.OWNER:
        return
    kind = call.path.get("type")
    for what in ("project", "dataset"):
        hash = call.path.get("id" if kind == what else what)
        if hash is None:
            continue
        if users.role(service.database, what, hash, call.user) is None:
            raise forbidden(f"No access to the {what} {hash}.")
        if what == "project" and operation.needs is not None:
            users.require(service.database, hash, call.user, operation.needs)
