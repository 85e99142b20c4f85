"""Both protocols over HTTP: who asks, for what, and in which form the answer comes."""

from __future__ import annotations

import asyncio
import hashlib
import threading

import orjson
import pytest
from cryptography.hazmat.primitives.serialization import ssh
from starlette.requests import Request
from tests.unit.local.asking import NOBODY, Asker
from tests.unit.local.rows import boxed, made

from encord_agents.local import LocalPlatform, LocalProject, folders, history, keys, users
from encord_agents.local.api import Api
from encord_agents.local.auth import token_id
from encord_agents.local.calls import client_of
from encord_agents.local.exchange import Exchange
from encord_agents.local.service import Answer, Call, Operation, Service

OWNERS = {"authorization": "Bearer owner"}
ANNS = {"authorization": "Bearer ann"}


@pytest.fixture
def asker(platform: LocalPlatform) -> Asker:
    """The application, and two people with tokens: the owner, and Ann, who is in no project."""
    database = platform._service.database
    database.add_key(token_id("owner"), users.OWNER)
    database.add_key(token_id("ann"), "ann@example.com")
    return Asker(platform)


def query(method: str, kind: str, **values: object) -> bytes:
    return orjson.dumps({"query_method": method, "query_type": kind, "values": {"uid": None, "payload": None} | values})


@pytest.mark.parametrize("authorization", [None, "", "Bearer other", "Bearer ", "owner", "0:00"])
@pytest.mark.parametrize("target", ["/public", "/v2/public/projects"])
def test_nobody_is_asked_for_nothing(
    platform: LocalPlatform, asker: Asker, target: str, authorization: str | None
) -> None:
    """401 in either protocol, whatever the body is: nothing of it is parsed, and the journal has it as refused."""
    headers = {} if authorization is None else {"authorization": authorization}
    method = "POST" if target == "/public" else "GET"
    answered = asker.ask(method, target, b"{", **headers)
    status = answered.content["status"] if target == "/public" else answered.status
    assert status == 401
    assert [entry.kind for entry in platform.journal] == ["refused"]


def test_a_user_who_is_gone(platform: LocalPlatform, asker: Asker) -> None:
    """A key is good no longer than its user, although checked keys are remembered."""
    private = platform.add_user("bob@example.com")
    body = query("GET", "labelrowmetadata")
    signature = ssh.load_ssh_private_key(private.encode(), None).sign(hashlib.sha256(body).digest())  # type: ignore
    authorization = f"{keys.key_id(private)}:{signature.hex()}"
    before = asker.ask("POST", "/public", body, authorization=authorization)
    platform.clear()
    after = asker.ask("POST", "/public", body, authorization=authorization)
    assert (before.content["status"], after.content["status"]) == (403, 401)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'"text"', b'{"query_method": 1, "query_type": "a", "values": {}}',
     b'{"query_method": "GET", "query_type": "project"}'],
)  # fmt: skip
def test_a_body_of_the_legacy_protocol(asker: Asker, body: bytes) -> None:
    """A body that is no query is refused inside of a 200."""
    answered = asker.ask("POST", "/public", body, **OWNERS)
    assert (answered.status, answered.content["status"]) == (200, 400)
    assert answered.content["response"] == ["INVALID_ARGUMENTS_ERROR"]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("NaN", "it has NaN, which is not a number in JSON, after"),
        ("-Infinity", "it has Infinity, which is not a number in JSON, after"),
        ('"half \\ud83d"', "it has half a character, such as half an emoji, after"),
        ("18446744073709551616", "has the whole number 18446744073709551616, which is beyond 64 bits"),
        ("-9223372036854775809", "has the whole number -9223372036854775809, which is beyond 64 bits"),
        ("9" * 300, "which is beyond 64 bits"),
        ("9" * 400, "number is infinity"),
        ("[" * 1000 + "9" * 30 + "]" * 1000, "is nested more than"),
        ("[", "The body is not JSON"),
    ],
)
@pytest.mark.parametrize("target", ["/public", "/v2/public/datasets"])
def test_a_body_that_could_not_be_kept(asker: Asker, target: str, value: str, reason: str) -> None:
    """It is refused with the reason, which the sender can find in it."""
    text = '{"query_method": "GET", "query_type": "x", "values": {}, "title": "é", "description": %s}'
    answered = asker.ask("POST", target, (text % value).encode(), **OWNERS)
    assert (answered.status, answered.content.get("status", 200)) in ((200, 400), (400, 200))
    assert reason in orjson.dumps(answered.content).decode()


def test_numbers_that_fit_are_kept(asker: Asker, project: LocalProject, platform: LocalPlatform) -> None:
    """As they are, also where a text has as many digits."""
    target = "/v2/public/storage/items"
    item = folders.find_items(platform._service.database, folders.Search())[0]["uuid"]
    metadata = b'{"large": 18446744073709551615, "small": -9223372036854775808, "text": "%s"}' % (b"9" * 40)
    patch = b'{"itemPatches": {"%s": {"clientMetadata": %s}}}' % (item.encode(), metadata)
    assert asker.ask("PATCH", f"{target}/patch-bulk", patch, **OWNERS).status == 200
    kept = asker.ask("GET", f"{target}/{item}", **OWNERS).content["clientMetadata"]
    assert orjson.loads(kept) == orjson.loads(metadata)


def test_a_query_is_answered(asker: Asker, project: LocalProject) -> None:
    """Of the resource that the headers name, in either case of its id."""
    answered = asker.ask(
        "POST", "/public", query("GET", "labelrowmetadata"),
        resourcetype="project", resourceid=project.project_hash.upper(), **OWNERS,
    )  # fmt: skip
    assert answered.content["status"] == 200
    assert [row["data_title"] for row in answered.content["response"]] == ["a.png", "b.png", "c.png"]


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("POST", "/public", query("GET", "labellog")),
        ("GET", "/v2/public/nothing", b""),
        ("PATCH", "/v2/public/projects", b""),
        ("DELETE", f"/v2/public/projects/{NOBODY}", b""),
    ],
)
def test_an_unknown_operation_is_loud(asker: Asker, method: str, target: str, body: bytes) -> None:
    """It is a 501, also where only the method is another, and is remembered for the end of a test."""
    answered = asker.ask(method, target, body, **OWNERS)
    status = answered.content["status"] if target == "/public" else answered.status
    assert status == 501
    assert len(asker.door.unknown) == 1


@pytest.mark.parametrize(
    ("method", "target", "body", "status"),
    [
        ("GET", "/v2/public/projects?titleEq=Project", b"", 200),
        ("GET", "/v2/public/projects/none", b"", 422),
        ("GET", f"/v2/public/projects/{NOBODY}", b"", 403),
        ("GET", "/v2/public/projects?colour=red", b"", 501),
        ("POST", "/v2/public/datasets", b"{", 400),
        ("POST", "/v2/public/datasets", b"[]", 400),
        ("POST", "/v2/public/datasets", b'{"title": "x", "more": ' + b"[" * 200 + b"]" * 200 + b"}", 400),
    ],
)
def test_what_is_read_of_a_request(
    asker: Asker, project: LocalProject, method: str, target: str, body: bytes, status: int
) -> None:
    """Ids, filters and bodies are looked at before the operation sees them."""
    assert asker.ask(method, target, body, **OWNERS).status == status


def test_roles_count(asker: Asker, platform: LocalPlatform, project: LocalProject) -> None:
    """Somebody in no project sees none; an annotator sees it, and does not manage it."""
    target = f"/v2/public/projects/{project.project_hash}"
    assert asker.ask("GET", target, **ANNS).status == 403
    with platform._service.database.write() as connection:
        users.add(connection, "project", project.project_hash, ["ann@example.com"], users.ANNOTATOR)
    assert asker.ask("GET", target, **ANNS).status == 200
    body = b'{"status": "paused"}'
    assert asker.ask("PUT", f"{target}/status", body, **ANNS).status == 403
    assert asker.ask("PUT", f"{target}/status", body, **OWNERS).status == 200


def test_a_body_that_is_too_large(platform: LocalPlatform, asker: Asker) -> None:
    """It is a 413 in either protocol, which is in no envelope."""
    platform.settings.body_limit = 20
    long = query("GET", "project", uid="x" * 100)
    assert asker.ask("POST", "/public", long, **OWNERS).status == 413
    assert asker.ask("POST", "/v2/public/datasets", long, **OWNERS).status == 413
    assert asker.ask("POST", "/v2/public/datasets", b'{"title": "x"}', **OWNERS).status == 200


def test_the_history_knows_who_saved(platform: LocalPlatform, asker: Asker, project: LocalProject) -> None:
    """A save is its client's; with the trace id of a call, it is the editor agent's that was called."""
    row = made(project)
    body = query("POST", "labelrow", uid=row["label_hash"], payload=boxed(row["data_hash"]))
    of = {"resourcetype": "project", "resourceid": project.project_hash, "user_agent": "script/1"}
    trace = platform._service.calls.new("Segment")
    for more in ({}, {"x_cloud_trace_context": f"{trace}/1;o=1"}, {"x_cloud_trace_context": "other/1"}):
        assert asker.ask("POST", "/public", body, **OWNERS, **of, **more).content["status"] == 200
    events = history.of_unit(platform._service.database, row["unit"], "main")
    assert [event.client for event in events] == ["script/1", client_of("Segment"), "script/1"]
    assert {event.user for event in events} == {users.OWNER}


@pytest.mark.parametrize("slow", [False, True])
def test_operations_that_read_files_keep_nobody_waiting(platform: LocalPlatform, slow: bool) -> None:
    """They run in a thread of their own; the others, which take less time than a change of threads, do not."""
    request = Request({"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []})

    def handle(service: Service, call: Call) -> Answer:
        return Answer(threading.current_thread() is threading.main_thread())

    operation = Operation("any", handle, slow=slow)
    work = Api(platform._service)._work(Exchange(request, "GET"), operation, lambda: Call({}, {}, None))
    assert orjson.loads(asyncio.run(work()).body) is not slow
