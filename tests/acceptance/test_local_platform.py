"""The unmodified SDK works against the local platform, over HTTP."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import requests
from encord import EncordUserClient
from encord.exceptions import (
    AuthenticationError,
    AuthorisationError,
    EncordException,
    InvalidArgumentsError,
    RateLimitExceededError,
)
from encord.http.constants import RequestsSettings
from encord.objects.coordinates import BoundingBoxCoordinates
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from encord_agents.local import AgentStage, Fault, LocalPlatform, Stage, UnknownRequestError, Workflow
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
        assert requests.get(items[0].get_signed_url(), timeout=5).content[:4] == b"\x89PNG"
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
            assert requests.get(url + change, timeout=5).status_code == 403


def test_broken_assets_are_broken(local_platform: LocalPlatform) -> None:
    """Missing is 404, corrupt is garbage, truncated breaks off."""
    local = local_platform.create_project(workflow=WORKFLOW)
    data_hash = local.add_image("a.png")
    client = local_platform.client()
    (row,) = client.get_project(local.project_hash).list_label_rows_v2()
    url = client.get_storage_item(row.backing_item_uuid, sign_url=True).get_signed_url()
    local.break_asset(data_hash, "missing")
    assert requests.get(url, timeout=5).status_code == 404
    local.break_asset(data_hash, "corrupt")
    assert requests.get(url, timeout=5).content[:4] != b"\x89PNG"
    local.break_asset(data_hash, "truncated")
    with pytest.raises(requests.RequestException):
        _ = requests.get(url, timeout=5).content
    local.break_asset(data_hash, None)
    assert requests.get(url, timeout=5).content[:4] == b"\x89PNG"


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


def test_leaving_is_quick_even_with_a_stalled_request() -> None:
    """A stalled request is cut off, not waited for."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        with LocalPlatform() as platform:
            local = platform.create_project(workflow=WORKFLOW)
            platform.faults.add(Fault("project", action="stall", seconds=60))
            asked = pool.submit(platform.client(retries=False).get_project, local.project_hash)
            while platform.faults.pending:
                time.sleep(0.005)
            start = time.monotonic()
        assert time.monotonic() - start < 1
        assert isinstance(asked.exception(5), EncordException)


def test_an_unknown_request_is_loud() -> None:
    """501, named, remembered."""
    with LocalPlatform() as platform:
        with pytest.raises(EncordException, match="does not know"):
            platform.client(retries=False).get_datasets()
        with pytest.raises(UnknownRequestError, match="datasets/list"):
            platform.check()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def test_bad_input_is_never_a_500() -> None:
    """Whatever the body, a signed request gets a refusal that says so."""
    with LocalPlatform() as platform:
        local = platform.create_project(workflow=WORKFLOW)
        local.add_placeholders(1)
        client = platform.client(retries=False)
        config = client._config  # the SDK's own signer is what signs arbitrary bodies
        config = getattr(config, "config", config)
        stage = local.stage("Pre-label").uuid
        base = f"{platform.domain}/v2/public"
        paths = [
            ("POST", f"projects/{local.project_hash}/workflow/stages/{stage}/actions"),
            ("POST", f"projects/{local.project_hash}/workflow/stages/{stage}/move-tasks"),
            ("POST", f"projects/{local.project_hash}/priorities"),
            ("POST", "storage/items/get-bulk"),
            ("PATCH", "storage/items/patch-bulk"),
            ("GET", f"projects/{local.project_hash}/workflow/stages/{stage}/tasks?pageToken=%F0%9F%8E%88&dataHashes=x"),
            ("GET", "projects/nothing"),
        ]

        @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
        @given(
            which=st.sampled_from(paths),
            key=st.sampled_from(["priorities", "itemUuids", "itemPatches", "taskUuids"]),
            body=JSON,
        )
        def v2(which: tuple[str, str], key: str, body: Any) -> None:
            for content in (body, {key: body}):
                import json

                request = requests.Request(which[0], f"{base}/{which[1]}", data=json.dumps(content).encode()).prepare()
                with requests.Session() as session:
                    assert session.send(config.define_headers_v2(request), timeout=5).status_code < 500

        @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
        @given(
            kind=st.sampled_from(["labelrow", "labelrowmetadata"]),
            method=st.sampled_from(["GET", "POST", "PUT"]),
            uid=JSON,
            payload=JSON
            | st.dictionaries(st.sampled_from(["labels", "branch_name", "data_hashes", "edited_before"]), JSON),
        )
        def v1(kind: str, method: str, uid: Any, payload: Any) -> None:
            import json

            if kind == "labelrowmetadata":
                method = "GET"
            values = {"uid": uid, "payload": payload}
            data = json.dumps({"query_type": kind, "query_method": method, "values": values})
            headers = config.define_headers(local.project_hash, "project", data)
            answer = requests.post(f"{platform.domain}/public", data=data, headers=headers, timeout=5)
            assert answer.status_code == 200
            assert answer.json()["status"] < 500

        v2()
        v1()
        platform.check()
