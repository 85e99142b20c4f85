"""Users of the local platform, each with a key: who sees and does what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from encord import EncordUserClient
from encord.exceptions import AuthenticationError, AuthorisationError, EncordException
from encord.utilities.project_user import ProjectUserRole
from tests import kinds

from encord_agents.local import LocalPlatform, LocalProject, Stage, Workflow
from encord_agents.local.uploads import INTEGRATION

WORKFLOW = Workflow([Stage("Annotate"), Stage("Review", "review"), Stage("Done", "done")])
ANN, ROB = "ann@example.com", "rob@example.com"


def client_of(platform: LocalPlatform, email: str) -> EncordUserClient:
    return EncordUserClient.create_with_ssh_private_key(platform.add_user(email), domain=platform.domain)


def task(project: Any, stage: str) -> Any:
    return next(iter(project.workflow.get_stage(name=stage).get_tasks()))


def made(platform: LocalPlatform) -> tuple[LocalProject, Any]:
    local = platform.create_project(workflow=WORKFLOW)
    local.add_placeholders(2)
    return local, platform.client(retries=False).get_project(local.project_hash)


def test_people_by_their_roles(local_platform: LocalPlatform) -> None:
    """Annotators submit, reviewers approve, managers move; who is not in the project does not see it."""
    local, project = made(local_platform)
    ann, rob = client_of(local_platform, ANN), client_of(local_platform, ROB)
    assert list(ann.list_projects()) == []
    with pytest.raises(AuthorisationError):
        ann.get_project(local.project_hash)
    project.add_users([ANN], ProjectUserRole.ANNOTATOR)
    project.add_users([ROB], ProjectUserRole.REVIEWER)
    anns, robs = ann.get_project(local.project_hash), rob.get_project(local.project_hash)
    assert (anns.user_role, robs.user_role) == (ProjectUserRole.ANNOTATOR, ProjectUserRole.REVIEWER)
    task(anns, "Annotate").assign(ANN)
    with pytest.raises(AuthorisationError):
        task(robs, "Annotate").submit()
    task(anns, "Annotate").submit()
    with pytest.raises(AuthorisationError):
        task(anns, "Review").approve()
    with pytest.raises(AuthorisationError):
        task(anns, "Annotate").move(destination_stage_uuid=anns.workflow.stages[2].uuid)
    with pytest.raises(AuthorisationError):
        anns.add_users(["eve@example.com"], ProjectUserRole.ADMIN)
    task(robs, "Review").reject()
    (back,) = [found for found in anns.workflow.get_stage(name="Annotate").get_tasks() if found.status == "REOPENED"]
    back.submit()
    task(robs, "Review").approve()
    assert local.stage("Done").tasks == 1


def test_viewers_look_only(local_platform: LocalPlatform) -> None:
    """They read labels, and save none."""
    local, project = made(local_platform)
    ann = client_of(local_platform, ANN)
    (row, _) = project.list_label_rows_v2()
    row.initialise_labels()
    project.add_users([ANN], ProjectUserRole.VIEWER)
    (seen, _) = ann.get_project(local.project_hash).list_label_rows_v2()
    seen.initialise_labels()
    with pytest.raises(AuthorisationError):
        seen.save()


def test_bearer_tokens(local_platform: LocalPlatform) -> None:
    """A token is its user's; a wrong one is nobody's."""
    local, _ = made(local_platform)
    client = local_platform.client()
    by_token = EncordUserClient.create_with_bearer_token(client.get_bearer_token(), domain=local_platform.domain)
    assert len(by_token.get_project(local.project_hash).list_label_rows_v2()) == 2
    with pytest.raises(EncordException):
        list(EncordUserClient.create_with_bearer_token("nothing", domain=local_platform.domain).list_projects())


def test_private_data(local_platform: LocalPlatform, tmp_path: Path) -> None:
    """Files of this machine, for the owner only; other machines are asked for nothing, and all is added or nothing."""
    files = kinds.five(tmp_path)
    client = local_platform.client(retries=False)
    folder = client.create_storage_folder("Private")
    listed: dict[str, Any] = {
        "videos": [{"objectUrl": f"file://{files / 'film.mp4'}", "clientMetadata": {"a": 1}}],
        "audio": [{"objectUrl": str(files / "sound.wav"), "title": "renamed.wav"}],
        "image_groups": [{"title": "pair", "objectUrl_0": str(files / "picture.png"), "createVideo": False}],
        "text": [{"objectUrl": f"{local_platform.domain}/assets/{local_platform.domain[-5:]}/x?expires=1&signature=x"}],
    }
    job = folder.add_private_data_to_folder_start(INTEGRATION, listed)
    result = folder.add_private_data_to_folder_get_result(job)
    assert (result.status.value, len(result.unit_errors)) == ("ERROR", 1)
    assert folder.get_summary().files == 0
    del listed["text"]
    listed["images"] = [{"objectUrl": "https://example.com/a.png"}, {"objectUrl": "file:///etc/hostname"}]
    job = folder.add_private_data_to_folder_start(INTEGRATION, listed, ignore_errors=True)
    result = folder.add_private_data_to_folder_get_result(job)
    assert (result.status.value, result.units_done_count, result.units_error_count) == ("DONE", 3, 2)
    assert "not on this machine" in " ".join(result.errors)
    (film,) = folder.list_items(search="film")
    assert (film.client_metadata, film.frame_count, film.url) == ({"a": 1}, 6, f"file://{files / 'film.mp4'}")
    theirs = client_of(local_platform, ANN).get_storage_folder(folder.uuid)
    job = theirs.add_private_data_to_folder_start(INTEGRATION, {"images": [{"objectUrl": str(files / "picture.png")}]})
    assert "owner" in theirs.add_private_data_to_folder_get_result(job).errors[0]


def test_the_key_of_a_user_who_is_gone(local_platform: LocalPlatform) -> None:
    """It is refused, although it was good a moment ago; that of the platform's owner stays."""
    client = client_of(local_platform, ANN)
    assert list(client.list_projects()) == []
    local_platform.clear()
    for call in (lambda: list(client.list_projects()), lambda: client.get_dataset(INTEGRATION)):  # one of each protocol
        with pytest.raises(AuthenticationError):
            call()
    assert list(local_platform.client(retries=False).list_projects()) == []
