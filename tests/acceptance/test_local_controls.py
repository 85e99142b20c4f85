"""The local platform steered over HTTP by a test in another process, and the fixtures of the package."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import requests
from encord.exceptions import EncordException
from tests import preloaded

from encord_agents.local import LocalPlatform, Stage, Workflow

EXAMPLES = Path(__file__).parents[2] / "examples"
WORKFLOW = Workflow([Stage("Annotate"), Stage("Done", "done")])


def test_the_example_of_the_how_to(tmp_path: Path) -> None:
    """The test file that the how-to shows passes as it is written, by the command that it names, where none of the
    plugins is installed that this project's own tests need.
    """
    ran = preloaded.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:timeout", "examples/testing"],
        cwd=EXAMPLES.parent, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_off_unless_asked_for(local_platform: LocalPlatform) -> None:
    """Without `controls=True` there is no such path."""
    answer = requests.get(f"{local_platform.domain}/local-platform/faults", timeout=60)
    assert answer.status_code in (404, 501)
    local_platform._door.unknown.clear()  # type: ignore[union-attr]


def test_faults_settings_journal_clock_and_outage() -> None:
    """All can be seen, set and taken back; another origin can do nothing."""
    with LocalPlatform(controls=True) as platform:
        base = f"{platform.domain}/local-platform"
        client = platform.client(retries=False)
        assert requests.post(f"{base}/faults", json={"kind": "projects", "status": 503}, timeout=60).ok
        assert [fault["kind"] for fault in requests.get(f"{base}/faults", timeout=60).json()] == ["projects"]
        with pytest.raises(EncordException):
            list(client.list_projects())
        assert list(client.list_projects()) == []
        assert (
            requests.get(f"{base}/journal", params={"kind": "projects"}, timeout=60).json()["counts"]["projects"] == 2
        )
        assert requests.patch(f"{base}/settings", json={"page_size": 7}, timeout=60).json()["page_size"] == 7
        local = platform.create_project(workflow=WORKFLOW)
        local.add_image("a.png")
        (row,) = client.get_project(local.project_hash).list_label_rows_v2()
        url = client.get_storage_item(row.backing_item_uuid or "", sign_url=True).get_signed_url()
        assert requests.get(str(url), timeout=60).status_code == 200
        requests.patch(f"{base}/clock", json={"ahead": 7200}, timeout=60)
        assert requests.get(str(url), timeout=60).status_code == 403
        requests.put(f"{base}/outage", json={"how": "503"}, timeout=60)
        with pytest.raises(EncordException):
            list(client.list_projects())
        requests.put(f"{base}/outage", json={"how": None}, timeout=60)
        assert len(list(client.list_projects())) == 1
        strange = {"Origin": "https://example.com"}
        assert requests.put(f"{base}/outage", json={"how": "503"}, headers=strange, timeout=60).status_code == 403
        for method, name, body in (
            ("POST", "faults", {"statos": 1}),
            ("POST", "faults", {"status": "x"}),
            ("PATCH", "settings", {"page_size": 0}),
            ("PATCH", "settings", {"nothing": 0}),
            ("PATCH", "clock", {"ahead": "soon"}),
            ("PUT", "outage", {"how": "loudly"}),
        ):
            assert requests.request(method, f"{base}/{name}", json=body, timeout=60).status_code == 400


def test_a_platform_is_cleared(tmp_path: Path) -> None:
    """Nothing is left but the address and the key, in memory and on disk."""
    for data in (None, tmp_path / "data"):
        with LocalPlatform(data) as platform:
            platform.create_project(workflow=WORKFLOW).add_image("a.png")
            key = platform.add_user("ann@example.com")
            client = platform.client(retries=False)
            platform.clear()
            assert platform.projects() == []
            assert list(client.list_projects()) == []
            assert [user.email for user in client.list_organisation_users()] == ["local@encord-agents.invalid"]
            assert key
            platform.create_project(workflow=WORKFLOW).add_image("b.png")
