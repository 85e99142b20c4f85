"""A certificate that is refused ends the run at once: it is no outage, and no task's fault."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from encord.http.constants import RequestsSettings
from encord.user_client import EncordUserClient
from tests.drivers import RUNNERS, Driver
from tests.servers import private_authority, tls_before

from encord_agents.core import transport
from encord_agents.core.assets import Asset
from encord_agents.exceptions import CertificateError
from encord_agents.tasks import QueueRunner, Runner
from encord_agents.tasks.models import TaskCompletionResult

if TYPE_CHECKING:
    from tests.conftest import World

TRUST = "REQUESTS_CA_BUNDLE"


@pytest.fixture
def front(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Path]]:
    """The platform behind TLS, with a certificate of a private authority; and that authority's own."""
    monkeypatch.setattr(transport, "_sessions", {})  # connections know what was trusted when they were made
    context, authority = private_authority(tmp_path)
    with tls_before(world.platform.domain, context) as address:
        yield address, authority


def client_of(world: World, domain: str) -> EncordUserClient:
    settings = RequestsSettings(max_retries=0, connection_retries=0)
    return EncordUserClient.create_with_ssh_private_key(
        world.platform.ssh_key, domain=domain, requests_settings=settings
    )


@pytest.fixture
def distrusted_files(world: World, front: tuple[str, Path]) -> World:
    """A world whose files are behind the front, which is not trusted."""
    for number in range(5):
        world.project.add_image(f"image {number}")
    world.platform._service.domain = front[0]
    return world


def with_file(asset: Asset) -> str:
    asset.path()
    return "complete"


@pytest.fixture(params=["missing", "garbage"])
def unreadable(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A path that is no file of certificates."""
    path = tmp_path / "bundle.pem"
    if request.param == "garbage":
        path.write_text("garbage")
    return path


@pytest.mark.parametrize("driver", RUNNERS, ids=str)
def test_files(distrusted_files: World, driver: Driver) -> None:
    """The run ends with the reason, and no task has failed."""
    world = distrusted_files
    with pytest.raises(CertificateError, match=TRUST):
        driver.run(world, with_file, num_retries=3)
    assert world.count("Pre-label") == 5


def test_files_without_authorities(distrusted_files: World, unreadable: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So it does where no certificate can be trusted, since the file of those to trust cannot be read."""
    world = distrusted_files
    monkeypatch.setenv(TRUST, str(unreadable))
    with pytest.raises(CertificateError, match=f"{TRUST} names '{unreadable}'"):
        world.agent(with_file)(progress="none")
    assert world.count("Pre-label") == 5


def test_no_authorities(world: World, front: tuple[str, Path], unreadable: Path, monkeypatch: Any) -> None:
    """No project can be opened, and the error says at once which variable and which path are wrong."""
    monkeypatch.setenv(TRUST, str(unreadable))
    with pytest.raises(CertificateError, match=f"{TRUST} names '{unreadable}'"):
        Runner(world.project.project_hash, user_client=client_of(world, front[0]))


def test_files_in_a_drain(distrusted_files: World) -> None:
    """A worker's answer ends the whole."""
    with closing(QueueRunner(distrusted_files.project.project_hash, user_client=distrusted_files.client)) as runner:
        runner.stage("Pre-label")(with_file)
        with ThreadPoolExecutor(2) as pool, pytest.raises(CertificateError, match=TRUST):
            runner.drain(executor=pool, progress="none")
        assert runner.report is not None
        assert runner.report.failed == 0


def test_files_in_a_queue_function(distrusted_files: World) -> None:
    """Every task is answered with the reason, none was tried more than once, and none has left its stage."""
    world = distrusted_files
    with closing(QueueRunner(world.project.project_hash, user_client=world.client)) as runner:
        function = runner.stage("Pre-label")(with_file)
        answer = TaskCompletionResult.model_validate_json(function(list(function.waiting())))
    assert {(one.outcome, one.phase) for one in answer.results} == {("failed", "load")}
    assert all(TRUST in (one.error or "") and not one.retryable for one in answer.results)
    assert world.count("Pre-label") == 5


@pytest.mark.parametrize("becomes", [None, "/no/such/bundle.pem"])
@pytest.mark.parametrize("options", [{"task_batch_size": 1}, {}, {"max_workers": 4}], ids=str)
def test_the_platform(
    world: World,
    front: tuple[str, Path],
    options: dict[str, Any],
    becomes: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If it is no longer trusted in the middle of a run, the run ends without a wait, and finished moves count."""
    address, authority = front
    world.project.add_placeholders(20)
    monkeypatch.setenv(TRUST, str(authority))
    runner = Runner(world.project.project_hash, user_client=client_of(world, address))
    calls: list[int] = []

    @runner.stage("Pre-label")
    def agent() -> str:
        calls.append(1)
        if len(calls) == 3:
            monkeypatch.delenv(TRUST) if becomes is None else monkeypatch.setenv(TRUST, becomes)
        return "complete"

    with pytest.raises(CertificateError, match=f"{TRUST} names '{becomes}'" if becomes else TRUST):
        runner(progress="none", **options)
    assert runner.report is not None
    assert runner.report.failed == 0
    assert TRUST in (runner.report.stopped or "")
    assert world.count("Pre-label") + runner.report.moved == 20
