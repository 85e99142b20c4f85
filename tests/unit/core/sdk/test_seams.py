"""What the library relies on of the SDK's inside: whether it is there, and what happens where it is not."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import logging
import textwrap
from collections.abc import Iterator
from functools import reduce
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pytest
from encord.exceptions import GenericServerError
from encord.http import bundle as bundle_module
from encord.http import error_utils
from encord.http.bundle import Bundle
from encord.http.constants import RequestsSettings
from encord.http.querier import Querier
from encord.http.v2.api_client import ApiClient
from encord.objects import LabelRowV2
from encord.user_client import EncordUserClient

from encord_agents.core.data_model import LabelRowInitialiseLabelsArgs
from encord_agents.core.sdk import SEAMS, seam
from encord_agents.core.sdk.as_loaded import AS_LOADED
from encord_agents.core.sdk.bundle import BUNDLE, SharingBundle, new_bundle, packed
from encord_agents.core.sdk.connections import CONNECTIONS
from encord_agents.core.sdk.entrusted import ENTRUSTED
from encord_agents.core.sdk.messages import MESSAGES, names_a_refusal
from encord_agents.core.sdk.once import ONCE, sending_once, sent_once
from encord_agents.core.sdk.seam import Seam
from encord_agents.tasks.models import TaskAgentReturnStruct

if TYPE_CHECKING:
    from tests.conftest import World

FINGERPRINTS: dict[str, dict[str, str]] = {
    "encord.client.EncordClientProject.get_project_v2": {"0.1.180": "b8ef36a46ce53793"},
    "encord.client.EncordClientProject.workflow_set_priority": {"0.1.180": "d353c4157653373c"},
    "encord.exceptions.GenericServerError": {"0.1.180": "d5724bb451889a90", "0.1.211": "8f2a7f391d35da5d"},
    "encord.http.bundle.Bundle": {"0.1.180": "33bb67faa83e2bc3"},
    "encord.http.bundle.BundleResultHandler": {"0.1.180": "90c6332b167f43ff"},
    "encord.http.bundle.BundleResultMapper": {"0.1.180": "baee0feaeec28b38"},
    "encord.http.bundle.BundledOperation": {"0.1.180": "0e0b9f2b4241da24"},
    "encord.http.bundle.bundled_operation": {"0.1.180": "08e7ca71a23061e7"},
    "encord.http.constants.RequestsSettings": {"0.1.180": "7b32a6be5bf7dd15"},
    "encord.http.error_utils.check_error_response": {"0.1.180": "d6b7a496b4527ce1", "0.1.211": "33821e2517cd3d02"},
    "encord.http.querier.Querier._execute": {"0.1.180": "184ccb9a3b4c670b", "0.1.211": "b9530220adccd444"},
    "encord.http.querier.create_new_session": {"0.1.180": "321d80805587ed35", "0.1.211": "67e1867ee8fd91fd"},
    "encord.http.v2.api_client.ApiClient.get": {"0.1.180": "f9914568e59066e5"},
    "encord.http.v2.api_client.ApiClient._request": {"0.1.180": "87a96310350e4499", "0.1.211": "0e85fab8c972ae00"},
    "encord.http.v2.error_utils.handle_error_response": {"0.1.180": "a1941c8cd4cebc55", "0.1.211": "089a617cea4f723e"},
    "encord.objects.ClassificationInstance.__init__": {"0.1.180": "b18c82c886660481", "0.1.211": "ed5bf2f9ad40f6bc"},
    "encord.objects.LabelRowV2.from_labels_dict": {"0.1.180": "5f0bb3059b58a3bd", "0.1.211": "fe28243b112af92e"},
    "encord.objects.LabelRowV2.save": {"0.1.180": "758acdbd91e5fabb", "0.1.211": "65be4c9b121ae00c"},
    "encord.objects.LabelRowV2.set_priority": {"0.1.180": "1cfba31eea4d4416", "0.1.211": "dafa6537fc2c399e"},
    "encord.objects.ObjectInstance.__init__": {"0.1.180": "606494df1bd19ffa", "0.1.211": "d7b0187aa74b12e8"},
    "encord.user_client.EncordUserClient.__init__": {"0.1.180": "bd0c522939261223"},
    "encord.user_client.EncordUserClient.get_ontology": {"0.1.180": "efeca0227c3bcbd8"},
    "encord.user_client.EncordUserClient.get_project": {"0.1.180": "1a433f7fe974822a"},
    "encord.workflow.stages.agent.AgentStage.get_tasks": {"0.1.180": "4132f7815da71555", "0.1.211": "3532dc4b9a9ee36c"},
    "encord.workflow.stages.agent.AgentTask.proceed": {"0.1.180": "cd87d61a6502431d"},
}
"""Of each function that a seam was read from: version of encord in which it was first seen so -> fingerprint."""


def fingerprint(name: str) -> str:
    """Of the source, without its layout's indentation; empty where there is no such thing."""
    module, attributes = name, []
    while module:
        try:
            found: Any = importlib.import_module(module)
            break
        except ImportError:
            module, _, attribute = module.rpartition(".")
            attributes.insert(0, attribute)
    try:
        source = inspect.getsource(reduce(getattr, attributes, found))
    except (AttributeError, TypeError, OSError):
        return ""
    return hashlib.sha256(textwrap.dedent(source).encode()).hexdigest()[:16]


@pytest.fixture(autouse=True)
def looked_at_anew() -> Iterator[None]:
    """Each test looks at the SDK for itself, and leaves no finding behind."""
    seam._holds.cache_clear()
    yield
    seam._holds.cache_clear()


@pytest.mark.parametrize("one", SEAMS, ids=lambda one: one.does)
def test_each_is_there(one: Seam) -> None:
    """With the versions that are allowed, the lowest one and the one of constraints.txt, everything is as expected."""
    assert one.found() == []


@pytest.mark.parametrize("name", sorted({name for one in SEAMS for name in one.reads}))
def test_each_is_as_it_was_read(name: str) -> None:
    """A new version of the SDK fails here for each function that changed: read it, then add its fingerprint above."""
    found = fingerprint(name)
    assert found, f"encord {version('encord')} has no {name}; a seam of encord_agents.core.sdk relies on it"
    assert found in FINGERPRINTS[name].values(), (
        f"{name} of encord {version('encord')} is not as it was in {', '.join(FINGERPRINTS[name])}: read it again"
    )


def test_each_says_what_it_was_read_from() -> None:
    """Every seam names versions, functions, and what happens without it."""
    for one in SEAMS:
        assert one.read_from
        assert one.reads
        assert one.does
        assert one.otherwise
        assert all(set(FINGERPRINTS[name]) <= set(one.read_from) for name in one.reads)


def other_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    def send(self: ApiClient, *args: Any, **named: Any) -> Any:
        return original(self, *args, **named)

    original = ApiClient._request
    monkeypatch.setattr(ApiClient, "_request", send)


def other_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(RequestsSettings, "connection_retries")


def other_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    add = Bundle.add

    def taking_more(
        self: Bundle, operation: Any, result_mapper: Any, payload: Any, limit: int, priority: int = 0
    ) -> None:
        add(self, operation, result_mapper, payload, limit)

    monkeypatch.setattr(Bundle, "add", taking_more)


def other_row(monkeypatch: pytest.MonkeyPatch) -> None:
    read = LabelRowV2.from_labels_dict

    def from_labels_dict(self: LabelRowV2, *args: Any, **named: Any) -> None:
        read(self, *args, **named)

    monkeypatch.setattr(LabelRowV2, "from_labels_dict", from_labels_dict)


def other_saves(monkeypatch: pytest.MonkeyPatch) -> None:
    set_priority = LabelRowV2.set_priority

    def urgently(self: LabelRowV2, priority: float, bundle: Any = None) -> None:
        set_priority(self, priority, bundle)

    monkeypatch.setattr(LabelRowV2, "set_priority", urgently)


def other_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    def check(response: Any, *args: Any) -> None:
        raise GenericServerError(f"{response} happened")

    monkeypatch.setattr(error_utils, "check_error_response", check)


OTHERS = [
    (CONNECTIONS, other_connections, "ApiClient._request() does not call create_new_session()"),
    (ONCE, other_once, "RequestsSettings has no number connection_retries"),
    (BUNDLE, other_bundle, "Bundle.add() does not take operation, result_mapper, payload, limit"),
    (AS_LOADED, other_row, "LabelRowV2.from_labels_dict() does not set"),
    (ENTRUSTED, other_saves, "LabelRowV2.set_priority() does not leave its request to a bundle"),
    (MESSAGES, other_messages, "the message of a GenericServerError does not name the error"),
]


@pytest.mark.parametrize(("one", "change", "words"), OTHERS, ids=lambda value: getattr(value, "does", None))
def test_another_sdk(
    one: Seam, change: Any, words: str, world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A run gets along without any seam, in the SDK's own way, and one line at DEBUG tells what was different."""
    caplog.set_level(logging.DEBUG, "encord_agents.core.sdk")
    change(monkeypatch)
    world.project.add_placeholders(3)

    def agent(label_row: LabelRowV2) -> TaskAgentReturnStruct:
        world.mark(label_row)
        return TaskAgentReturnStruct(pathway="complete", label_row=label_row, label_row_priority=0.5)

    assert world.run(agent).failed == 0
    assert world.count("Done") == 3
    assert len(world.requests("save")) == 1
    assert not one.holds
    lines = [record.getMessage() for record in caplog.records if words in record.getMessage()]
    assert len(lines) == 1
    assert one.otherwise in lines[0]


def test_without_the_bundle_parcels_are_the_sdks_own(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """They can be sent in parts, and again, where the SDK's bundle would change the first of them."""
    other_bundle(monkeypatch)
    world.project.add_placeholders(3)
    rows = world.client.get_project(world.project.project_hash).list_label_rows_v2(include_workflow_graph_node=True)
    parcels = [packed(row.set_priority, 0.25) for row in rows]
    for part in (parcels, parcels[:1], parcels[1:]):
        bundle = new_bundle()
        assert not isinstance(bundle, SharingBundle)
        for parcel in part:
            parcel.add_to(bundle)
        bundle.execute()
    assert [entry.items for entry in world.platform.journal.of("priorities")] == [3, 1, 2]


def test_without_the_switch_the_client_is_the_sdks(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where retries cannot be turned off, the client is left as it is."""
    other_once(monkeypatch)
    before = world.client.user_config.requests_settings.max_retries
    assert sending_once(world.client) is world.client
    with sent_once():
        assert world.client.user_config.requests_settings.max_retries == before


def test_without_its_name_an_error_may_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that nothing is known of is waited out, rather than held against a task."""
    with pytest.raises(GenericServerError) as caught:
        error_utils.check_error_response(["SOME_ERROR"])
    assert names_a_refusal(caught.value)
    other_messages(monkeypatch)
    seam._holds.cache_clear()
    assert not names_a_refusal(caught.value)


@pytest.mark.parametrize("sender", [ApiClient, Querier])
def test_what_cannot_be_looked_at_is_different(sender: type, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking never raises, whatever has become of the SDK."""
    monkeypatch.setattr(sender, "_request" if sender is ApiClient else "_execute", None)
    monkeypatch.setattr(bundle_module.Bundle, "execute", None)
    monkeypatch.setattr(bundle_module.Bundle, "add", 1)
    monkeypatch.setattr(EncordUserClient, "__init__", object.__init__)
    for one in (CONNECTIONS, ONCE, BUNDLE):
        assert one.found()


@pytest.mark.parametrize("change", [other_row, other_bundle])
def test_labels_that_cannot_be_kept_are_loaded_anew(world: World, monkeypatch: pytest.MonkeyPatch, change: Any) -> None:
    """With `restore_labels`, each attempt has the row as the platform has it."""
    change(monkeypatch)
    unit = world.project.add_placeholders(1)
    boxes = []

    def agent(label_row: LabelRowV2) -> TaskAgentReturnStruct:
        boxes.append(len(label_row.get_object_instances()))
        world.mark(label_row)
        if len(boxes) < 3:
            raise ValueError("no")
        return TaskAgentReturnStruct(pathway="complete", label_row=label_row)

    runner = world.agent(agent, restore_labels=True)
    assert runner(progress="none", num_retries=2).failed == 0
    assert boxes == [0, 0, 0]
    assert len(unit) == 1
    assert world.requests("label_get", "label_create") == ["label_create", "label_get", "label_get"]


@pytest.mark.parametrize("change", [other_saves, other_once])
def test_saves_that_cannot_wait_are_sent(world: World, monkeypatch: pytest.MonkeyPatch, change: Any) -> None:
    """With `bundle_saves`, where rows or other requests cannot be watched, agents' own saves are as ever."""
    change(monkeypatch)
    world.project.add_placeholders(3)
    seen = []

    def agent(label_row: LabelRowV2) -> str:
        world.mark(label_row)
        label_row.save()
        label_row.set_priority(0.5)
        seen.append((world.marks(label_row.data_hash), world.project.priority(label_row.data_hash)))
        return "complete"

    assert world.run(agent, bundle_saves=True).moved == 3
    assert seen == [([0.25], 0.5)] * 3


def test_a_row_in_part_is_refused_all_the_same(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody can tell whether it was loaded again, a row that was loaded in part is not saved."""
    other_row(monkeypatch)
    world.project.add_placeholders(1)

    def agent(label_row: LabelRowV2) -> TaskAgentReturnStruct:
        return TaskAgentReturnStruct(pathway="complete", label_row=label_row)

    arguments = LabelRowInitialiseLabelsArgs(include_object_feature_hashes={"abcdefgh"})
    with pytest.warns(UserWarning, match="some of their labels"):
        runner = world.agent(agent, label_row_initialise_labels_args=arguments)
    assert runner(progress="none").failed == 1
    assert not world.requests("save")
