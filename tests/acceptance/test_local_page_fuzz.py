"""Whatever an address or a form of the page holds, the answer is no failure of the page's own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests import kinds
from tests.thorough import examples

from encord_agents.local import AgentStage, LocalPlatform, Stage, Workflow
from encord_agents.local.page import routing

WORKFLOW = Workflow(
    [
        AgentStage("Pre-label", {"go": "Sample"}),
        Stage("Sample", "router", routes={"Agree": 50, "Review": 50}),
        Stage("Agree", "consensus_annotation"),
        Stage("Annotate"),
        Stage("Review", "review"),
        Stage("Done", "done"),
    ]
)
QUERY = ("after", "before", "class", "frame", "from", "least", "most", "order", "stage", "title", "to", "version", "v")
ACTIONS = ("approve", "forget", "move", "move:", "pathway:", "reject", "remove", "submit", "tell", "dark")
PLACES = ("http://127.0.0.1:9/", "/", "//elsewhere", "\\\\", "0.5_1", "-0.5_99", "1e308_1", "nan_3", "inf_1", "1_")
ODD = ("", "\0", "\udcff", "%", "_", "²", "٣", "x" * 5000, "9" * 30, "1e400", "nan", "inf", "-1", "2.5")
WORDS = ("changed", "newest", "none", "priority", *ACTIONS, *PLACES, *ODD)
FIELDS = ("action", "address", "batch_size", "destination", "labels", "max_wait", "of", "receiver", "secret", "then")
OTHERS = ("agent", "do", "frame", "name", "object", "stage", "task", "theme", "url")


class Pages:
    """A platform with something of everything, and the ids in it."""

    def __init__(self, platform: LocalPlatform, files: Path) -> None:
        self.domain = platform.domain
        self.platform = platform
        local = platform.create_project(workflow=WORKFLOW, files=files)
        local.add_image_group("set", [kinds.picture(files / "a.png").read_bytes()] * 2)
        sdk = platform.client().get_project(local.project_hash)
        for row in sdk.list_label_rows_v2():
            row.initialise_labels()
            row.save()
        platform.receivers.add("http://127.0.0.1:9/")
        platform.add_editor_agent("move", "http://127.0.0.1:9/")
        self.projects = [local.project_hash]
        self.tasks = [task.uuid for task in local.tasks()]
        self.data = [task.data_hash for task in local.tasks()]
        self.stages = [stage.uuid for stage in local.stages]
        with platform._service.database.read() as connection:
            self.items = [row["uuid"] for row in connection.execute("SELECT uuid FROM items")]
        page = requests.get(f"{self.domain}/notifications", timeout=60).text
        self.token = re.findall(r'name="token" value="(\w+)"', page)[0]
        self.session = requests.Session()

    def words(self) -> st.SearchStrategy[str]:
        known = [*self.projects, *self.tasks, *self.stages, *self.items, *WORDS]
        made = st.sampled_from(known) | st.text(max_size=20) | st.integers().map(str) | st.floats().map(str)
        return made | st.tuples(st.sampled_from(WORDS), st.sampled_from(self.stages)).map("".join)

    def path(self, draw: Any, template: str) -> str:
        own = {
            "project": self.projects,
            "task": self.tasks,
            "item": self.items,
            "data": self.data,
            "name": ["page.css"],
            "number": ["0", "1"],
            "frame": ["0", "1"],
        }

        def filled(found: re.Match[str]) -> str:
            choices = st.sampled_from(own[found[1]])
            return quote(draw(choices | choices | choices | self.words()).encode("utf-8", "surrogatepass"), safe="")

        return re.sub(r"\{(\w+)\}", filled, template)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    files = kinds.five(tmp_path_factory.mktemp("files") / "files")
    kinds.dicom(files / "scan.dcm")
    with LocalPlatform() as platform:
        yield Pages(platform, files)


EXAMPLES = settings(
    max_examples=examples(100), deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def encoded(pairs: list[tuple[str, str]]) -> bytes:
    return "&".join(f"{k}={quote(v.encode('utf-8', 'surrogatepass'), safe='')}" for k, v in pairs).encode()


@EXAMPLES
@given(data=st.data())
def test_no_address_fails(pages: Pages, data: st.DataObject) -> None:
    """Each is answered with a page, or a refusal."""
    template = data.draw(st.sampled_from([*routing._DOCUMENTS, *routing._PARTS]))
    query = data.draw(st.lists(st.tuples(st.sampled_from(QUERY), pages.words()), max_size=5))
    path = pages.path(data.draw, template)
    answer = pages.session.get(f"{pages.domain}{path}?{encoded(query).decode()}", timeout=60, allow_redirects=False)
    assert answer.status_code < 500 or answer.status_code == 501, (path, query)  # 501: no page's address at all
    assert pages.platform._door is not None
    assert pages.platform._door.bugs == []


@EXAMPLES
@given(data=st.data())
def test_no_form_fails(pages: Pages, data: st.DataObject) -> None:
    """Each is done or refused, and leads nowhere else."""
    template = data.draw(st.sampled_from(list(routing._FORMS)))
    fields = data.draw(st.lists(st.tuples(st.sampled_from(FIELDS + OTHERS), pages.words()), max_size=8))
    path = pages.path(data.draw, template)
    answer = pages.session.post(
        f"{pages.domain}{path}",
        data=encoded([("token", pages.token), *fields]),
        headers={"Content-Type": "application/x-www-form-urlencoded"},
        timeout=60,
        allow_redirects=False,
    )
    assert answer.status_code < 500 or answer.status_code == 501, (path, fields)
    assert re.match(r"/(?![/\\])", answer.headers.get("location", "/")), fields
    assert pages.platform._door is not None
    assert pages.platform._door.bugs == []
    # A session keeps what is set; the note of the last form would be on every page.
    pages.session.cookies.clear()
