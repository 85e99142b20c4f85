"""Authorisation of requests by the user's membership and role in projects and datasets."""

from __future__ import annotations

from encord_agents.local import users
from encord_agents.local.service import Call, Given, Operation, Service, uuids
from encord_agents.local.trouble import forbidden


def admit(service: Service, operation: Operation, call: Call) -> None:
    """Check that the user may make a request.

    Raises:
        Refusal: 403, the user is not in the project or in a dataset, or the user's role there does not allow it.
    """
    if call.user == users.OWNER:
        return
    type = call.path.get("type")
    for kind in ("project", "dataset"):
        hash = call.path.get("id" if type == kind else kind)
        if hash is None:
            continue
        _see(service, kind, hash, call.user)
        if operation.needs is not None:
            users.require(service.database, hash, call.user, operation.needs, kind=kind)
    payload = call.body["payload"] if type is not None else None
    if isinstance(payload, dict):
        for hash in uuids(Given(payload).get("dataset_hashes") or [], "dataset_hashes"):
            _see(service, "dataset", hash, call.user)


def _see(service: Service, kind: users.Kind, hash: str, user: str) -> None:
    if users.role(service.database, kind, hash, user) is None:
        raise forbidden(f"No access to the {kind} {hash}.")
