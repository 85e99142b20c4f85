"""Requests that each user is admitted to."""

from __future__ import annotations

import pytest

from encord_agents.local import LocalPlatform, LocalProject, users
from encord_agents.local.admission import admit
from encord_agents.local.service import Answer, Call, Operation, Service
from encord_agents.local.trouble import Refusal

ANN = "ann@example.com"


def added(platform: LocalPlatform, project: LocalProject, role: int) -> None:
    with platform._service.database.write() as connection:
        users.add(connection, "project", project.project_hash, [ANN], role)


def handled(service: Service, call: Call) -> Answer:
    return Answer(None)


@pytest.mark.parametrize(
    ("role", "may"),
    [
        (users.ADMIN, {"submit", "approve", "reject", "label", "work", "manage"}),
        (users.TEAM_MANAGER, {"submit", "approve", "reject", "label", "work", "manage"}),
        (users.ANNOTATOR, {"submit", "label", "work"}),
        (users.REVIEWER, {"approve", "reject", "label", "work"}),
        (users.ANNOTATOR_REVIEWER, {"submit", "approve", "reject", "label", "work"}),
        (users.VIEWER, set()),
    ],
)
def test_a_role_and_what_it_allows(platform: LocalPlatform, project: LocalProject, role: int, may: set[str]) -> None:
    """Everything else is a 403; looking is allowed to all who are in the project."""
    added(platform, project, role)
    for needs in (None, *users.MAY):
        call = Call({"project": project.project_hash}, {}, None, ANN)
        operation = Operation("x", handled, needs=needs)
        if needs is None or needs in may:
            admit(platform._service, operation, call)
        else:
            with pytest.raises(Refusal) as caught:
                admit(platform._service, operation, call)
            assert caught.value.status == 403


@pytest.mark.parametrize("path", [{"project": "HASH"}, {"type": "project", "id": "HASH"}, {"dataset": "DATA"}])
def test_those_who_are_not_in_it(platform: LocalPlatform, project: LocalProject, path: dict[str, str]) -> None:
    """Neither protocol lets them in; the owner is in everything."""
    named = {"HASH": project.project_hash, "DATA": project._record.dataset or ""}
    ids = {key: named.get(value, value) for key, value in path.items()}
    operation = Operation("x", handled)
    with pytest.raises(Refusal):
        admit(platform._service, operation, Call(ids, {}, None, ANN))
    admit(platform._service, operation, Call(ids, {}, None, users.OWNER))


@pytest.mark.parametrize(("role", "may"), [(users.ADMIN, True), (users.ANNOTATOR, False)])
def test_a_role_in_a_dataset(platform: LocalPlatform, project: LocalProject, role: int, may: bool) -> None:
    """Its admins manage it; its other users are let in, and no more."""
    dataset = str(project._record.dataset)
    with platform._service.database.write() as connection:
        users.add(connection, "dataset", dataset, [ANN], role)
    for path in ({"dataset": dataset}, {"type": "dataset", "id": dataset}):
        call = Call(path, {}, {"uid": None, "payload": None}, ANN)
        admit(platform._service, Operation("x", handled), call)
        if may:
            admit(platform._service, Operation("x", handled, needs="manage"), call)
        else:
            with pytest.raises(Refusal):
                admit(platform._service, Operation("x", handled, needs="manage"), call)


@pytest.mark.parametrize("name", ["dataset_hashes", "datasetHashes"])
def test_datasets_that_a_request_names(platform: LocalPlatform, project: LocalProject, name: str) -> None:
    """Only who is in a dataset may put it into a project, under whichever spelling."""
    dataset = str(project._record.dataset)
    call = Call({"type": "", "id": ""}, {}, {"uid": None, "payload": {name: [dataset.upper()]}}, ANN)
    with pytest.raises(Refusal) as caught:
        admit(platform._service, Operation("x", handled), call)
    assert caught.value.message == f"No access to the dataset {dataset}."
    with platform._service.database.write() as connection:
        users.add(connection, "dataset", dataset, [ANN], users.ANNOTATOR)
    admit(platform._service, Operation("x", handled), call)
