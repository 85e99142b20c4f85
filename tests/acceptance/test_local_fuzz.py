"""Whatever is asked of the local platform, the answer is no failure of its own."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urlencode

import pytest
import requests
from encord.configs import SshConfig
from encord.http.constants import RequestsSettings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.thorough import THOROUGH, examples

from encord_agents.local import AgentStage, LocalPlatform, Stage, Workflow, routes_v1, routes_v2

WORKFLOW = Workflow(
    [AgentStage("Agent", {"go": "Review"}), Stage("Annotate"), Stage("Review", "review"), Stage("Done", "done")],
    start="Annotate",
)
UNKNOWN = "11111111-1111-4111-8111-111111111111"
KEYS = (
    "action", "actions", "anchor", "assignee", "clientMetadata", "client_metadata", "comment", "count",
    "createVideo", "copy_labels_options", "copy_project_options", "data_hashes", "data_title", "dataItems",
    "dataUuid", "dataset_hashes", "description", "destinationStageUuid", "editor", "externalFiles", "files",
    "filter", "folderUuids", "frameIndex", "ignoreErrors", "images", "issueTagNames", "issueTags", "issueUuids",
    "issues", "itemPatches", "itemType", "itemUuids", "item_uuids", "labelUuids", "labels", "layoutContents",
    "layoutType", "name", "newParentUuid", "objectUrl", "order", "ontology_hash", "pageSize", "page_size",
    "pageToken", "parent", "path", "priorities", "process_hash", "projectUuid", "project_copy_metadata", "search",
    "settings", "signUrls", "sourceBranchName", "status", "targetBranchName", "taskUuids", "title", "titleLike",
    "titleEq", "createdAfter", "type", "url", "user_emails", "userEmails", "user_role", "videos",
    "workflow_template_id", "xs", "imageMetadata", "limit",
)  # fmt: skip


class Asked:
    """A platform with something of everything, and how to send it anything."""

    def __init__(self, platform: LocalPlatform) -> None:
        self.platform = platform
        local = platform.create_project(workflow=WORKFLOW)
        local.add_placeholders(2)
        client = platform.client(retries=False)
        (row, _) = client.get_project(local.project_hash).list_label_rows_v2()
        row.initialise_labels()
        item = client.get_storage_item(row.backing_item_uuid or "")
        task = local.tasks()[0].uuid
        dataset = next(iter(client.get_project(local.project_hash).list_datasets()))
        self.ids = {
            "project": local.project_hash, "stage": local.stage("Annotate").uuid, "task": task, "item": str(item.uuid),
            "folder": str(item.parent_folder_uuid), "dataset": str(dataset.dataset_hash), "label": str(row.label_hash),
            "ontology": client.get_project(local.project_hash).ontology_hash, "job": UNKNOWN, "tag": UNKNOWN,
            "data": row.data_hash,
        }  # fmt: skip
        self.config = SshConfig.from_ssh_private_key(
            platform.ssh_key, domain=platform.domain, requests_settings=RequestsSettings()
        )

    def v2(self, route: str, ids: dict[str, str], query: dict[str, Any], body: Any) -> int:
        method, path = route.split(" ")
        path = re.sub(r"\{(\w+)\}", lambda match: ids.get(match[1], self.ids[match[1]]), path)
        url = f"{self.platform.domain}/v2/public/{path}"
        if query:
            url += "?" + urlencode({key: str(value) for key, value in query.items()})
        request = requests.Request(method, url, data=json.dumps(body).encode() if body is not None else None).prepare()
        with requests.Session() as session:
            return session.send(self.config.define_headers_v2(request), timeout=10).status_code

    def v1(self, kind: str, method: str, resource: str, values: Any) -> int:
        data = json.dumps({"query_type": kind, "query_method": method, "values": values})
        headers = self.config.define_headers(self.ids.get(resource, UNKNOWN), resource, data)
        answer = requests.post(f"{self.platform.domain}/public", data=data, headers=headers, timeout=10)
        return int(answer.json()["status"])


def anything(asked: Asked) -> st.SearchStrategy[Any]:
    """JSON that has the platform's own ids and words in it more often than not."""
    leaves = (
        st.none() | st.booleans() | st.integers(-5, 10**9) | st.sampled_from([2**31, 2**63, 2**64 - 1])
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(max_size=8) | st.sampled_from([*asked.ids.values(), "main", "image", "SUBMIT", "APPROVE", "custom"])
    )  # fmt: skip
    keys = st.sampled_from(KEYS) | st.sampled_from(list(asked.ids.values()))
    return st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4), max_leaves=8
    )


@pytest.mark.timeout(600)
def test_no_route_fails() -> None:
    """For every route of both protocols, whatever its ids, query and body, there is an answer or a refusal."""
    with LocalPlatform() as platform:
        asked = Asked(platform)
        bodies = anything(asked)

        @settings(max_examples=examples(500), deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(
            route=st.sampled_from(sorted(routes_v2.ROUTES)),
            ids=st.dictionaries(
                st.sampled_from(sorted(asked.ids)), st.sampled_from([UNKNOWN, "x", "%00", "..%2F"]), max_size=1
            ),
            query=st.dictionaries(st.sampled_from(KEYS), st.text(max_size=6) | st.integers(-3, 10**20), max_size=3),
            body=st.none() | bodies | st.dictionaries(st.sampled_from(KEYS), bodies, max_size=4),
        )
        def v2(route: str, ids: dict[str, str], query: dict[str, Any], body: Any) -> None:
            assert asked.v2(route, ids, query, body) != 500

        @settings(max_examples=examples(300), deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(
            operation=st.sampled_from(sorted(routes_v1.OPERATIONS)),
            resource=st.sampled_from(["project", "dataset", "", "x"]),
            uid=st.sampled_from([*asked.ids.values(), None]).map(lambda one: [one]) | bodies,
            payload=st.none() | bodies | st.dictionaries(st.sampled_from(KEYS), bodies, max_size=4),
        )
        def v1(operation: tuple[str, str], resource: str, uid: Any, payload: Any) -> None:
            assert asked.v1(*operation, resource, {"uid": uid, "payload": payload}) != 500

        v2()
        v1()
        assert platform._door is not None
        assert platform._door.bugs == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"])
def test_no_door_fails_for_strangers(method: str) -> None:
    """Whatever is asked by somebody without a key, of any path, it is refused or shown, and nothing is done."""
    with LocalPlatform(controls=True) as platform:
        local = platform.create_project(workflow=WORKFLOW)
        local.add_placeholders(1)
        before = local.tasks()
        assert platform._door is not None
        values = [local.project_hash, UNKNOWN, "x", "..%2F..%2Fetc%2Fpasswd", "%00", "%FF", "\u0661"]
        if method not in ("GET", "POST") and not THOROUGH:
            values = [local.project_hash, "..%2F..%2Fetc%2Fpasswd"]
        paths = sorted({getattr(route, "path", "") for route in platform._door.application.routes})
        with requests.Session() as session:
            for path in paths:
                for url in sorted({platform.domain + re.sub(r"\{[^}]+\}", value, path) for value in values}):
                    body = b'{"how": null}' if "local-platform" in path else b"\xff[[[{"
                    answer = session.request(method, url, data=body, timeout=10, allow_redirects=False)
                    assert answer.status_code != 500, (method, url, answer.text)
                    assert b"root:" not in answer.content
        assert platform._door.bugs == []
        assert local.tasks() == before
