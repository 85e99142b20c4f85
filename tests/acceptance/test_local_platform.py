"""The unmodified SDK works against the local platform, over HTTP."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
import requests
from encord import EncordUserClient
from encord.exceptions import (
    AuthenticationError,
    AuthorisationError,
    EncordException,
    InvalidArgumentsError,
    PayloadTooLargeError,
    RateLimitExceededError,
)
from encord.http.constants import RequestsSettings
from encord.objects.coordinates import BoundingBoxCoordinates
from encord.orm.label_row import AnnotationTaskStatus, ShadowDataState
from encord.workflow.stages.agent import AgentTaskStatus
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.thorough import examples
from tests.waiting import until

from encord_agents.local import (
    AgentStage,
    Fault,
    LocalPlatform,
    LocalPlatformError,
    LocalProject,
    Stage,
    UnknownRequestError,
    Workflow,
)
from encord_agents.local.images import png
from encord_agents.local.keys import new_key

WORKFLOW = Workflow(
    [
        AgentStage("Pre-label", {"go": "Triage", "end": "Done"}),
        AgentStage("Triage", {"end": "Done"}),
        Stage("Done", "done"),
    ]
)
UNKNOWN = "11111111-1111-4111-8111-111111111111"


def boxed(row: Any) -> None:
    instance = row.ontology_structure.objects[0].create_instance()
    instance.set_for_frames(BoundingBoxCoordinates(height=0.1, width=0.2, top_left_x=0.3, top_left_y=0.4), 0)
    row.add_object_instance(instance)


@pytest.mark.parametrize("tokens", ["keyset", "offset"])
@pytest.mark.parametrize("shuffle", [False, True])
def test_a_whole_run(tokens: Any, shuffle: bool) -> None:
    """Poll, initialise, save, prioritise and proceed, bundled, whatever the tokens and the order of answers."""
    with LocalPlatform(page_size=3, page_tokens=tokens, shuffle=shuffle) as platform:
        local = platform.create_project(workflow=WORKFLOW)
        hashes = local.add_placeholders(7)
        client = platform.client(retries=False)
        project = client.get_project(local.project_hash)
        tasks = list(project.workflow.get_stage(name="Pre-label").get_tasks())
        assert [str(task.data_hash) for task in tasks] == hashes
        rows = project.list_label_rows_v2(data_hashes=hashes, include_workflow_graph_node=True)
        assert {row.data_hash for row in rows} == set(hashes)
        with project.create_bundle() as bundle:
            for row in rows:
                row.initialise_labels(bundle=bundle)
        with project.create_bundle() as bundle:
            for row in rows:
                boxed(row)
                row.save(bundle=bundle)
                row.set_priority(0.0, bundle=bundle)
        with project.create_bundle() as bundle:
            for task in tasks:
                task.proceed(pathway_name="go", bundle=bundle)
        assert [task.uuid for task in local.tasks("Triage")] == [str(task.uuid) for task in tasks]
        assert all(local.saves(h) == 1 and local.priority(h) == 0.0 for h in hashes)
        again = project.list_label_rows_v2(data_hashes=hashes[:1])[0]
        again.initialise_labels()
        assert len(again.get_object_instances()) == 1
        items = client.get_storage_items([row.backing_item_uuid for row in rows], sign_url=True)
        assert requests.get(items[0].get_signed_url(), timeout=60).content[:4] == b"\x89PNG"
        assert platform.journal.count("save") == platform.journal.count("actions") == 1
        platform.check()


def test_one_at_a_time(local_platform: LocalPlatform) -> None:
    """Nothing needs a bundle."""
    local = local_platform.create_project(workflow=WORKFLOW)
    local.add_image("a.png")
    project = local_platform.client().get_project(local.project_hash)
    stage = project.workflow.get_stage(name="Pre-label")
    (row,) = project.list_label_rows_v2(include_workflow_graph_node=True)
    row.initialise_labels()
    boxed(row)
    row.save()
    row.set_priority(0.7)
    (task,) = stage.get_tasks()
    task.proceed(pathway_uuid=str(stage.pathways[1].uuid))
    (done,) = project.workflow.get_stage(name="Done").get_tasks()
    assert done.uuid == task.uuid
    assert local.moves(str(task.uuid)) == 1


def test_stages_of_every_type(local_platform: LocalPlatform) -> None:
    """The SDK knows them all, and tasks that stand there can be listed."""
    others = ("annotation", "review", "consensus_annotation", "consensus_review", "done")
    workflow = Workflow([AgentStage("agent", {kind: kind for kind in others}), *(Stage(kind, kind) for kind in others)])
    local = local_platform.create_project(workflow=workflow)
    local.add_placeholders(len(others))
    project = local_platform.client(retries=False).get_project(local.project_hash)
    assert [stage.title for stage in project.workflow.stages] == ["agent", *others]
    for task, kind in zip(list(project.workflow.get_stage(name="agent").get_tasks()), others, strict=True):
        task.proceed(pathway_name=kind)
    for kind in others:
        (there,) = project.workflow.get_stage(name=kind).get_tasks()
        assert there.data_title
    assert [stage.tasks for stage in local.stages] == [0, 1, 1, 1, 1, 1]


def test_one_task_elsewhere_refuses_the_whole_request(local_platform: LocalPlatform) -> None:
    """400, and no task moves."""
    local = local_platform.create_project(workflow=WORKFLOW)
    local.add_placeholders(3)
    project = local_platform.client(retries=False).get_project(local.project_hash)
    tasks = list(project.workflow.get_stage(name="Pre-label").get_tasks())
    local.move(str(tasks[1].uuid), "Done")
    bundle = project.create_bundle()
    for task in tasks:
        task.proceed(pathway_name="go", bundle=bundle)
    with pytest.raises(InvalidArgumentsError):
        bundle.execute()
    assert local.stage("Triage").tasks == 0
    with pytest.raises(InvalidArgumentsError):
        tasks[0].proceed(pathway_name="nowhere")


def test_a_refused_row_refuses_the_whole_save(local_platform: LocalPlatform) -> None:
    """Nothing of the request is applied."""
    local = local_platform.create_project(workflow=WORKFLOW)
    hashes = local.add_placeholders(2)
    project = local_platform.client(retries=False).get_project(local.project_hash)
    rows = project.list_label_rows_v2()
    bundle = project.create_bundle()
    for row in rows:
        row.initialise_labels()
        row.save(bundle=bundle)
    local.refuse_row(hashes[1])
    with pytest.raises(EncordException):
        bundle.execute()
    assert [local.saves(h) for h in hashes] == [0, 0]


def test_who_may_ask_for_what(local_platform: LocalPlatform) -> None:
    """An unknown key is 401; an unknown project, item or row is 403, and so is a bulk with one of them."""
    local = local_platform.create_project(workflow=WORKFLOW)
    data_hash = local.add_image("a.png")
    client = local_platform.client(retries=False)
    stranger = EncordUserClient.create_with_ssh_private_key(
        new_key(), domain=local_platform.domain, requests_settings=RequestsSettings(max_retries=0)
    )
    with pytest.raises(AuthenticationError):
        stranger.get_project(local.project_hash)
    with pytest.raises(AuthorisationError):
        client.get_project(UNKNOWN)
    with pytest.raises(AuthorisationError):
        client.get_storage_item(UNKNOWN)
    (row,) = client.get_project(local.project_hash).list_label_rows_v2()
    with pytest.raises(AuthorisationError):
        client.get_storage_items([row.backing_item_uuid, UNKNOWN])
    local.forbid_item(data_hash)
    with pytest.raises(AuthorisationError):
        client.get_storage_item(row.backing_item_uuid)


def test_signed_urls_expire_and_cannot_be_forged() -> None:
    """403, for an old URL and for one that was changed."""
    for lifetime, change in ((-1.0, ""), (60.0, "0")):
        with LocalPlatform(url_lifetime=lifetime) as platform:
            local = platform.create_project(workflow=WORKFLOW)
            local.add_image("a.png")
            client = platform.client()
            (row,) = client.get_project(local.project_hash).list_label_rows_v2()
            url = client.get_storage_item(row.backing_item_uuid, sign_url=True).get_signed_url()
            assert requests.get(url + change, timeout=60).status_code == 403


@pytest.mark.parametrize(
    "path",
    [
        "/assets/../platform.sqlite3",
        "/assets/..%2fplatform.sqlite3/x",
        "/assets/%2e%2e/%2e%2e/id_ed25519",
        "/assets/{item}/../../../id_ed25519",
        "/assets//etc/passwd",
        "/assets/{item}/a.png?expires=99999999999999&signature=",
        "/assets/{item}/a.png?expires=1e99&signature=%F0%9F%8E%88",
        "/assets/{item}/a.png",
    ],
)
def test_no_path_leads_to_a_file(tmp_path: Path, path: str) -> None:
    """Without a signature of ours nothing is served, whatever a path says; sent as it is, dots and all."""
    with LocalPlatform(tmp_path) as platform:
        local = platform.create_project(workflow=WORKFLOW)
        local.add_image("../../a.png")
        (row,) = platform.client().get_project(local.project_hash).list_label_rows_v2()
        connection = HTTPConnection(platform.domain.removeprefix("http://"), timeout=60)
        connection.request("GET", path.format(item=row.backing_item_uuid))
        answer = connection.getresponse()
        assert answer.status in {403, 501}
        assert b"OPENSSH" not in answer.read()
        connection.close()
    assert not (tmp_path.parent / "a.png").exists()


def test_a_signed_url_is_for_one_item(local_platform: LocalPlatform) -> None:
    """Its signature opens no other file; a title may be anything."""
    local = local_platform.create_project(workflow=WORKFLOW)
    for title in ("../a?b#c.png", "  ", "..", "\N{CAT}/\n.png"):
        local.add_image(title)
    client = local_platform.client()
    rows = client.get_project(local.project_hash).list_label_rows_v2()
    items = client.get_storage_items([row.backing_item_uuid for row in rows], sign_url=True)
    urls = [item.get_signed_url() for item in items]
    assert all(requests.get(url, timeout=60).content[:4] == b"\x89PNG" for url in urls)
    moved = urls[0].replace(str(items[0].uuid), str(items[1].uuid))
    assert requests.get(moved, timeout=60).status_code == 403


def test_broken_assets_are_broken(local_platform: LocalPlatform) -> None:
    """Missing is 404, corrupt is garbage, truncated breaks off, stalled stops coming."""
    local = local_platform.create_project(workflow=WORKFLOW)
    data_hash = local.add_image("a.png")
    client = local_platform.client()
    (row,) = client.get_project(local.project_hash).list_label_rows_v2()
    url = client.get_storage_item(row.backing_item_uuid, sign_url=True).get_signed_url()
    local.break_asset(data_hash, "missing")
    assert requests.get(url, timeout=60).status_code == 404
    local.break_asset(data_hash, "corrupt")
    assert requests.get(url, timeout=60).content[:4] != b"\x89PNG"
    local.break_asset(data_hash, "truncated")
    with pytest.raises(requests.RequestException):
        _ = requests.get(url, timeout=60).content
    local.break_asset(data_hash, "stall")
    with requests.get(url, timeout=(5, 0.2), stream=True) as answer:
        assert answer.status_code == 200
        with pytest.raises(requests.RequestException):
            _ = answer.content
    local.break_asset(data_hash, None)
    assert requests.get(url, timeout=60).content[:4] == b"\x89PNG"


def test_state_outlives_the_process(tmp_path: Path) -> None:
    """Key, project, tasks and labels are there after a restart; the key is its owner's alone."""
    with LocalPlatform(tmp_path) as platform:
        local = platform.create_project(workflow=WORKFLOW)
        (data_hash,) = local.add_placeholders(1)
        (row,) = platform.client().get_project(local.project_hash).list_label_rows_v2()
        row.initialise_labels()
        row.save()
        key = platform.ssh_key
    with LocalPlatform(tmp_path) as platform:
        assert platform.ssh_key == key
        assert platform.project(local.project_hash).saves(data_hash) == 1
        platform.client().get_project(local.project_hash)
    assert (tmp_path / "id_ed25519").stat().st_mode & 0o777 == 0o600


def test_faults_do_what_they_say(local_platform: LocalPlatform) -> None:
    """Status, envelope, drops before and after the work, stalls; each as often as asked."""
    local = local_platform.create_project(workflow=WORKFLOW)
    (data_hash,) = local.add_placeholders(1)
    project = local_platform.client(retries=False).get_project(local.project_hash)
    (row,) = project.list_label_rows_v2()
    row.initialise_labels()
    saves = []
    for fault, error in (
        (Fault("save", status=500), EncordException),
        (Fault("save", status=429, retry_after=2), RateLimitExceededError),
        (Fault("save", action="envelope", status=429), RateLimitExceededError),
        (Fault("save", action="drop_before"), EncordException),
        (Fault("save", action="drop_after"), EncordException),
    ):
        local_platform.faults.add(fault)
        with pytest.raises(error):
            row.save()
        saves.append(local.saves(data_hash))
    row.save()
    assert saves == [0, 0, 0, 0, 1]
    assert local.saves(data_hash) == 2
    local_platform.down()
    with pytest.raises(EncordException):
        row.save()
    local_platform.down(False)
    row.save()


def test_clearing_the_faults_ends_a_stall(local_platform: LocalPlatform) -> None:
    """A stalled request goes on then, and is served."""
    local = local_platform.create_project(workflow=WORKFLOW)
    local_platform.faults.add(Fault("project", action="stall", seconds=3600))
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(local_platform.client().get_project, local.project_hash)
        assert until(lambda: not local_platform.faults.pending)
        assert not asked.done()
        local_platform.faults.clear()
        assert asked.result().project_hash == local.project_hash


def servers() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "local-platform"}


def test_leaving_is_quick_even_with_a_stalled_file() -> None:
    """A client that still waits for the rest of a file is cut off."""
    before = servers()
    with LocalPlatform() as platform:
        local = platform.create_project(workflow=WORKFLOW)
        local.break_asset(local.add_image("a.png"), "stall")
        client = platform.client()
        (row,) = client.get_project(local.project_hash).list_label_rows_v2()
        url = client.get_storage_item(row.backing_item_uuid, sign_url=True).get_signed_url()
        answer = requests.get(url, stream=True)
    assert servers() == before
    with answer, pytest.raises(requests.RequestException):
        _ = answer.content


def test_leaving_is_quick_even_with_a_stalled_request() -> None:
    """A stalled request is cut off, not waited for."""
    before = servers()
    with ThreadPoolExecutor(1) as pool:
        with LocalPlatform() as platform:
            local = platform.create_project(workflow=WORKFLOW)
            platform.faults.add(Fault("project", action="stall", seconds=3600))
            asked = pool.submit(platform.client(retries=False).get_project, local.project_hash)
            assert until(lambda: not platform.faults.pending)
        assert servers() == before
        assert isinstance(asked.exception(), EncordException)


def test_an_unknown_request_is_loud(caplog: pytest.LogCaptureFixture) -> None:
    """501, named, logged, remembered."""
    with LocalPlatform() as platform:
        with pytest.raises(EncordException, match="does not know"):
            list(platform.client(retries=False).list_collections())
        assert "index/collections" in caplog.text
        with pytest.raises(UnknownRequestError, match="index/collections"):
            platform.check()


def test_another_door_is_as_loud() -> None:
    """A request outside both protocols is not silently a 404."""
    with LocalPlatform() as platform:
        assert requests.put(f"{platform.domain}/assets/x/y", data=b"bytes", timeout=60).status_code == 501
        assert requests.get(f"{platform.domain}/v3/public/projects", timeout=60).status_code == 501
        assert platform.journal.count("unknown") == 2
        with pytest.raises(UnknownRequestError, match=r"(?s)PUT /assets/x/y.*GET /v3/public/projects"):
            platform.check()


def test_a_method_that_nothing_has() -> None:
    """501 and remembered, at every door: never silently a 405."""
    asked = [
        (method, path)
        for method in ("OPTIONS", "TRACE", "PROPFIND")
        for path in ("/v2/public/projects", "/public", "/public/user", "/assets/x/y", "/")
    ]
    with LocalPlatform() as platform:
        for method, path in asked:
            assert requests.request(method, platform.domain + path, timeout=60).status_code == 501
        with pytest.raises(UnknownRequestError) as caught:
            platform.check()
    assert caught.value.requests == tuple(f"{method} {path}." for method, path in asked)


def titles(rows: Iterable[Any]) -> list[str]:
    return sorted(row.data_title for row in rows)


def test_filters_of_tasks(local_platform: LocalPlatform) -> None:
    """By data hash, dataset, part of the title, status and assignee; of agent and of final stages; on every page."""
    local_platform.settings.page_size = 2
    local = local_platform.create_project(workflow=WORKFLOW)
    hashes = [local.add_image(title) for title in ("cat-1", "cat-2", "dog-1", "cat-3", "100%_dog")]
    project = local_platform.client(retries=False).get_project(local.project_hash)
    agent: Any = project.workflow.get_stage(name="Pre-label")
    (dataset,) = project.list_datasets()
    for stage in (agent, project.workflow.get_stage(name="Done")):
        if stage is not agent:
            for task in local.tasks("Pre-label"):
                local.move(task.uuid, "Done")
        assert titles(stage.get_tasks()) == ["100%_dog", "cat-1", "cat-2", "cat-3", "dog-1"]
        assert titles(stage.get_tasks(data_hash=hashes[2])) == ["dog-1"]
        assert titles(stage.get_tasks(data_hash=[UUID(hashes[0]), UUID(hashes[3]), UUID(UNKNOWN)])) == [
            "cat-1",
            "cat-3",
        ]
        assert titles(stage.get_tasks(data_title="cat")) == ["cat-1", "cat-2", "cat-3"]
        assert titles(stage.get_tasks(data_title="%_")) == ["100%_dog"]
        assert titles(stage.get_tasks(data_title="dog", data_hash=hashes[:3])) == ["dog-1"]
        assert len(titles(stage.get_tasks(dataset_hash=dataset.dataset_hash))) == 5
        assert titles(stage.get_tasks(dataset_hash=UNKNOWN)) == []
    for task in local.tasks("Done"):
        local.move(task.uuid, "Pre-label")
    assert len(titles(agent.get_tasks(status=AgentTaskStatus.NEW))) == 5
    assert titles(agent.get_tasks(status=[AgentTaskStatus.COMPLETED, AgentTaskStatus.SKIPPED])) == []
    assert titles(agent.get_tasks(assignee="nobody@encord-agents.invalid")) == []


def test_filters_of_label_rows(local_platform: LocalPlatform) -> None:
    """By hash, title, pattern, stage, status and date, alone and together."""
    local = local_platform.create_project(workflow=WORKFLOW)
    hashes = [local.add_image(title) for title in ("cat-1", "cat-2", "dog_1")]
    project = local_platform.client(retries=False).get_project(local.project_hash)
    local.move(local.tasks()[0].uuid, "Done")
    local.move(local.tasks()[1].uuid, "Triage")
    (row,) = project.list_label_rows_v2(data_title_eq="cat-2")
    row.initialise_labels()
    row.save()
    hour = timedelta(hours=1)
    now = datetime.now().astimezone()
    for filters, expected in (
        ({}, ["cat-1", "cat-2", "dog_1"]),
        ({"data_hashes": hashes[1:]}, ["cat-2", "dog_1"]),
        ({"data_hashes": [UNKNOWN]}, []),
        ({"data_hashes": []}, []),
        ({"label_hashes": [row.label_hash]}, ["cat-2"]),
        ({"data_title_eq": "cat"}, []),
        ({"data_title_like": "cat%"}, ["cat-1", "cat-2"]),
        ({"data_title_like": "%\\_1"}, []),
        ({"data_title_like": "___-1"}, ["cat-1"]),
        ({"workflow_graph_node_title_eq": "Triage"}, ["cat-2"]),
        ({"workflow_graph_node_title_like": "%r%"}, ["cat-2", "dog_1"]),
        ({"workflow_graph_node_title_eq": "Nowhere"}, []),
        ({"label_statuses": [AnnotationTaskStatus.COMPLETED]}, ["cat-1"]),
        ({"label_statuses": [AnnotationTaskStatus.QUEUED]}, ["cat-2", "dog_1"]),
        ({"label_statuses": [AnnotationTaskStatus.COMPLETED, AnnotationTaskStatus.RETURNED]}, ["cat-1"]),
        ({"edited_after": now - hour}, ["cat-2"]),
        ({"edited_before": (now - hour).isoformat()}, []),
        ({"edited_after": now - hour, "edited_before": now + hour, "data_title_like": "dog%"}, []),
        ({"shadow_data_state": ShadowDataState.ALL_DATA}, ["cat-1", "cat-2", "dog_1"]),
        ({"shadow_data_state": ShadowDataState.SHADOW_DATA}, []),
    ):
        assert titles(project.list_label_rows_v2(**filters)) == expected, filters  # type: ignore[arg-type]


def test_what_rows_include(local_platform: LocalPlatform) -> None:
    """The stage and the metadata are there when they are asked for, and only then."""
    local = local_platform.create_project(workflow=WORKFLOW)
    local.add_image("a.png")
    client = local_platform.client(retries=False)
    project = client.get_project(local.project_hash)
    (row,) = project.list_label_rows_v2()
    client.get_storage_item(row.backing_item_uuid).update(client_metadata={"shelf": {"row": 3}})
    (bare,) = project.list_label_rows_v2(include_workflow_graph_node=False)
    (full,) = project.list_label_rows_v2(include_client_metadata=True)
    assert bare.workflow_graph_node is None
    assert bare.client_metadata is None
    assert full.workflow_graph_node is not None
    assert full.workflow_graph_node.title == "Pre-label"
    assert full.client_metadata == {"shelf": {"row": 3}}
    (resolved,) = project.list_label_rows_v2(include_client_metadata=True, resolve_client_metadata_locally=True)
    assert resolved.client_metadata == full.client_metadata


def statuses(local: LocalProject, data_hash: str, branch: str) -> tuple[str, str]:
    label = local.label(data_hash, branch)
    assert label is not None
    return label["label_status"], label["annotation_task_status"]


def test_branches_are_apart(local_platform: LocalPlatform) -> None:
    """Labels, tasks and stages of a branch are its own; a branch without labels lists every row, uninitialised."""
    local = local_platform.create_project(workflow=WORKFLOW)
    (one, two) = local.add_placeholders(2)
    task = local.add_task(one, "Done", branch="model")
    project = local_platform.client(retries=False).get_project(local.project_hash)
    for branch, boxes in (("main", 1), ("model", 2)):
        (row,) = project.list_label_rows_v2(data_hashes=[one], branch_name=branch)
        assert row.label_hash is None
        row.initialise_labels()
        for _ in range(boxes):
            boxed(row)
        row.save()
    assert local.saves(one) == local.saves(one, "model") == 1
    rows = {row.data_hash: row for row in project.list_label_rows_v2(branch_name="model")}
    assert {row.branch_name for row in rows.values()} == {"model"}
    assert str(rows[one].task_uuid) == task
    assert rows[two].label_hash is None
    rows[one].initialise_labels()
    assert len(rows[one].get_object_instances()) == 2
    assert rows[one].workflow_graph_node.title == "Done"
    assert statuses(local, one, "model") == ("LABELLED", "COMPLETED")
    (row,) = project.list_label_rows_v2(data_hashes=[one])
    row.initialise_labels()
    assert len(row.get_object_instances()) == 1
    assert row.workflow_graph_node is not None
    assert row.workflow_graph_node.title == "Pre-label"
    assert statuses(local, one, "main") == ("LABEL_IN_PROGRESS", "QUEUED")
    every = project.list_label_rows_v2(include_all_label_branches=True)
    assert sorted((r.branch_name, r.data_hash == one) for r in every) == [
        ("main", False),
        ("main", True),
        ("model", True),
    ]
    assert list(project.list_branches()) == ["main", "model"]
    new = project.list_label_rows_v2(branch_name="new")
    assert {(r.data_hash, r.branch_name, r.label_hash) for r in new} == {(one, "new", None), (two, "new", None)}


def test_pictures_from_files(local_platform: LocalPlatform, tmp_path: Path) -> None:
    """One file, a list, or a directory with those below: named by their path in it; the broken ones in `skipped`."""
    (tmp_path / "below").mkdir()
    (tmp_path / "a.png").write_bytes(png(8, 6))
    (tmp_path / "below" / "b.PNG").write_bytes(png(6, 8))
    (tmp_path / "cut.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    local = local_platform.create_project(workflow=WORKFLOW)
    hashes = local.add_images(tmp_path)
    assert [task.data_title for task in local.tasks()] == ["a.png", "below/b.PNG"]
    assert [skipped.partition(":")[0] for skipped in local.skipped] == [str(tmp_path / "cut.jpg")]
    assert len(local.add_images(tmp_path / "a.png")) == 1
    assert local.skipped == []
    assert len(local.add_images([tmp_path / "a.png", tmp_path / "none.png"])) == 1
    assert "No such file" in local.skipped[0]
    with pytest.raises(LocalPlatformError, match="does not exist"):
        local.add_images(tmp_path / "nowhere")
    client = local_platform.client()
    row = client.get_project(local.project_hash).list_label_rows_v2(data_hashes=hashes[1:])[0]
    assert (row.width, row.height) == (6, 8)
    item = client.get_storage_item(row.backing_item_uuid, sign_url=True)
    assert (item.mime_type, item.name) == ("image/png", "below/b.PNG")
    assert requests.get(item.get_signed_url(), timeout=60).content == png(6, 8)


def test_a_project_with_its_pictures_or_neither(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the pictures cannot be added, for any reason, no project is left without them."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.png").write_bytes(png(8, 6))
    (tmp_path / "cut.png").write_bytes(png(8, 6)[:20])
    with LocalPlatform() as platform:
        for given, says in (
            (tmp_path / "empty", "There is no picture in"),
            (tmp_path / "cut.png", r"(?s)could be used.*cut\.png"),
            ([tmp_path / "none.png"], r"(?s)the list could be used.*none\.png: No such file"),
            (tmp_path / "nowhere", "does not exist"),
        ):
            with pytest.raises(LocalPlatformError, match=says):
                platform.create_project(workflow=WORKFLOW, images=given)
        with monkeypatch.context() as patch:
            patch.setattr("encord_agents.local.datasets.uuid4", lambda: None)  # two tasks of one id
            with pytest.raises(sqlite3.IntegrityError):
                platform.create_project(workflow=WORKFLOW, images=[tmp_path / "a.png"] * 2)
        assert platform.projects() == []
        assert list(platform.client().list_projects()) == []
        local = platform.create_project(workflow=WORKFLOW, images=tmp_path)
        assert [task.data_title for task in local.tasks()] == ["a.png"]
        assert [skipped.partition(": ")[0] for skipped in local.skipped] == [str(tmp_path / "cut.png")]


def test_a_body_that_is_too_large(local_platform: LocalPlatform) -> None:
    """413 on both protocols, and nothing is done."""
    local = local_platform.create_project(workflow=WORKFLOW)
    (data_hash,) = local.add_placeholders(1)
    project = local_platform.client(retries=False).get_project(local.project_hash)
    (row,) = project.list_label_rows_v2()
    row.initialise_labels()
    local_platform.settings.body_limit = 100
    with pytest.raises(PayloadTooLargeError):
        row.save()
    with pytest.raises(PayloadTooLargeError):
        next(iter(project.workflow.get_stage(name="Pre-label").get_tasks())).proceed(pathway_name="g" * 100)
    local_platform.settings.body_limit = 10_000
    assert local.saves(data_hash) == 0
    assert local.stage("Pre-label").tasks == 1


def test_labels_that_nobody_could_read_back(local_platform: LocalPlatform) -> None:
    """A save of what is not in the shape of labels is refused, so that a later read cannot stumble over it."""
    local = local_platform.create_project(workflow=WORKFLOW)
    (data_hash,) = local.add_placeholders(1)
    client = local_platform.client(retries=False)
    project = client.get_project(local.project_hash)
    (row,) = project.list_label_rows_v2()
    row.initialise_labels()
    boxed(row)
    row.save()
    good = row.to_encord_dict()
    (box,) = good["data_units"][data_hash]["labels"]["objects"]
    for key, value in (
        ("object_answers", {"x": 1}),
        ("object_answers", []),
        ("classification_answers", {"x": []}),
        ("classification_answers", {"x": {"featureHash": "unknown"}}),
        ("data_units", {}),
        ("data_units", {data_hash: {"labels": {"objects": {}}}}),
        ("data_units", {data_hash: {"labels": {"objects": [{**box, "shape": None}]}}}),
        ("data_units", {data_hash: {"labels": {"objects": [{**box, "shape": "polygon"}]}}}),
        ("data_units", {data_hash: {"labels": {"objects": [{**box, "boundingBox": {"x": 0.1}}]}}}),
        ("data_units", {data_hash: {"labels": {"objects": [{**box, "createdAt": "yesterday"}]}}}),
        ("data_units", {data_hash: {"labels": {"objects": [box, box]}}}),
        ("object_answers", {"x": {}}),
        ("object_answers", {**good["object_answers"], "x": {"objectHash": "x"}}),
        ("object_actions", {"a": None}),
        ("object_actions", {"a": {}}),
        ("spaces", {"a": None}),
        ("spaces", {"a": {}}),
    ):
        answer = legacy(local_platform, local.project_hash, "labelrow", "POST", [row.label_hash], {
            "multi_request": True, "labels": [{**good, key: value}],
        })  # fmt: skip
        assert answer["status"] == 400, key
    assert local.saves(data_hash) == 1
    (again,) = project.list_label_rows_v2()
    again.initialise_labels(include_object_feature_hashes={"other"})
    assert again.get_object_instances() == []


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth - 1):
        value = {"a": value}
    return value


def test_what_is_nested_too_deeply(local_platform: LocalPlatform) -> None:
    """It is refused on both protocols, so that every answer it would be in can be written."""
    local = local_platform.create_project(workflow=WORKFLOW)
    local.add_placeholders(1)
    client = local_platform.client(retries=False)
    project = client.get_project(local.project_hash)
    (row,) = project.list_label_rows_v2()
    row.initialise_labels()
    item = client.get_storage_item(row.backing_item_uuid)
    item.update(client_metadata=nested(98))
    for depth in (101, 252):
        with pytest.raises(InvalidArgumentsError, match="100 levels"):
            item.update(client_metadata=nested(depth))
        answer = legacy(local_platform, local.project_hash, "labelrow", "POST", [row.label_hash], {
            "multi_request": True, "labels": [{**row.to_encord_dict(), "spaces": nested(depth)}],
        })  # fmt: skip
        assert answer["status"] == 400
        assert "100 levels" in answer["payload"]
    (again,) = project.list_label_rows_v2(include_client_metadata=True)
    assert again.client_metadata == nested(98)
    again.initialise_labels()


def test_an_answer_that_cannot_be_written_is_remembered(caplog: pytest.LogCaptureFixture) -> None:
    """A bug of the platform's is a 500 in the journal, in the log and in `check()`, also when it is in the writing."""
    with LocalPlatform() as platform:
        local = platform.create_project(workflow=WORKFLOW)
        local.add_placeholders(1)
        project = platform.client(retries=False).get_project(local.project_hash)
        with local._database.write() as connection:
            connection.execute("UPDATE items SET metadata = ?", (json.dumps(nested(300)),))
        with pytest.raises(EncordException, match="unknown error"):
            project.list_label_rows_v2(include_client_metadata=True)
        assert [entry.status for entry in platform.journal.of("rows")] == [500]
        assert "failed at GET /public" in caplog.text
        with pytest.raises(TypeError, match="Recursion limit"):
            platform.check()


def test_an_old_signature_is_refused(local_platform: LocalPlatform, monkeypatch: pytest.MonkeyPatch) -> None:
    """401 for a request that was signed an hour ago: what somebody recorded cannot be played again for ever."""
    local = local_platform.create_project(workflow=WORKFLOW)
    config = signer(local_platform)
    url = f"{local_platform.domain}/v2/public/projects/{local.project_hash}"
    request = config.define_headers_v2(requests.Request("GET", url).prepare())
    with requests.Session() as session:
        assert session.send(request, timeout=60).status_code == 200
        assert session.send(request, timeout=60).status_code == 200  # as the SDK's transport may
        hour_ago = datetime.now() - timedelta(hours=1)
        monkeypatch.setattr("encord.http.v2.request_signer.datetime", SimpleNamespace(now=lambda: hour_ago))
        old = config.define_headers_v2(requests.Request("GET", url).prepare())
        answer = session.send(old, timeout=60)
    assert answer.status_code == 401
    assert "too long ago" in answer.json()["message"]


def signer(platform: LocalPlatform) -> Any:
    """The SDK's own signer, for requests that the SDK would not make."""
    config = platform.client(retries=False)._config
    return getattr(config, "config", config)


def legacy(platform: LocalPlatform, project: str, kind: str, method: str, uid: Any, payload: Any) -> Any:
    """What the first protocol answers."""
    data = json.dumps({"query_type": kind, "query_method": method, "values": {"uid": uid, "payload": payload}})
    headers = signer(platform).define_headers(project, "project", data)
    return requests.post(f"{platform.domain}/public", data=data, headers=headers, timeout=60).json()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
) | st.sampled_from([98, 101, 252, 900]).map(nested)


def test_bad_input_is_never_a_500() -> None:
    """A signed request with any invalid body gets a refusal that says so."""
    with LocalPlatform() as platform:
        local = platform.create_project(workflow=WORKFLOW)
        local.add_placeholders(1)
        client = platform.client(retries=False)
        (row,) = client.get_project(local.project_hash).list_label_rows_v2()
        row.initialise_labels()
        item = client.get_storage_item(row.backing_item_uuid)
        config = signer(platform)
        stage = local.stage("Pre-label").uuid
        base = f"{platform.domain}/v2/public"
        paths = [
            ("POST", f"projects/{local.project_hash}/workflow/stages/{stage}/actions"),
            ("POST", f"projects/{local.project_hash}/workflow/stages/{stage}/move-tasks"),
            ("POST", f"projects/{local.project_hash}/priorities"),
            ("POST", "storage/items/get-bulk"),
            ("PATCH", "storage/items/patch-bulk"),
            ("PATCH", f"storage/folders/{item.parent_folder_uuid}/items/{item.uuid}"),
            ("GET", f"projects/{local.project_hash}/workflow/stages/{stage}/tasks?pageToken=%F0%9F%8E%88&dataHashes=x"),
            ("GET", "projects/nothing"),
        ]

        @settings(max_examples=examples(60), deadline=None, suppress_health_check=list(HealthCheck))
        @given(
            which=st.sampled_from(paths),
            key=st.sampled_from(["priorities", "itemUuids", "itemPatches", "taskUuids", "clientMetadata"]),
            body=JSON,
        )
        def v2(which: tuple[str, str], key: str, body: Any) -> None:
            for content in (body, {key: body}):
                request = requests.Request(which[0], f"{base}/{which[1]}", data=json.dumps(content).encode()).prepare()
                with requests.Session() as session:
                    assert session.send(config.define_headers_v2(request), timeout=60).status_code < 500

        @settings(max_examples=examples(60), deadline=None, suppress_health_check=list(HealthCheck))
        @given(
            kind=st.sampled_from(["labelrow", "labelrowmetadata"]),
            method=st.sampled_from(["GET", "POST", "PUT"]),
            uid=JSON,
            payload=JSON
            | st.dictionaries(st.sampled_from(["labels", "branch_name", "data_hashes", "edited_before"]), JSON),
        )
        def v1(kind: str, method: str, uid: Any, payload: Any) -> None:
            if kind == "labelrowmetadata":
                method = "GET"
            values = {"uid": uid, "payload": payload}
            data = json.dumps({"query_type": kind, "query_method": method, "values": values})
            headers = config.define_headers(local.project_hash, "project", data)
            answer = requests.post(f"{platform.domain}/public", data=data, headers=headers, timeout=60)
            assert answer.status_code == 200
            assert answer.json()["status"] < 500 or "the filter" in answer.json()["payload"]

        v2()
        v1()
        # What was taken must not spoil later answers.
        (row,) = client.get_project(local.project_hash).list_label_rows_v2(include_client_metadata=True)
        row.initialise_labels()
        assert not platform._door.bugs  # type: ignore[union-attr]
