"""Opening a project: what is waited for, and what ends at once."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from encord import EncordUserClient
from encord.exceptions import AuthenticationError, AuthorisationError, EncordException
from tests.ports import free_port
from tests.proxies import forward_proxy, use_proxy
from tests.servers import PAGE, Answer, private_authority, server

from encord_agents.core.sdk.once import sending_once
from encord_agents.core.tracebacks import chain, described
from encord_agents.exceptions import CertificateError, OutageError, PrintableError
from encord_agents.local import Fault
from encord_agents.local.keys import new_key
from encord_agents.tasks import QueueRunner, Runner
from encord_agents.tasks.engine.stop import Leaving, Stop
from encord_agents.tasks.runner.opening import open_project, with_advice

if TYPE_CHECKING:
    from tests.conftest import World

HASH = UUID("3f2504e0-4f89-11d3-9a0c-0305e82c3301")


def client_of(domain: str) -> EncordUserClient:
    return sending_once(EncordUserClient.create_with_ssh_private_key(new_key(), domain=domain))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((200, PAGE), "an HTML page"),
        ((302, b""), "redirects without end"),
        ((401, PAGE), "an HTML page"),
        ((403, PAGE), "an HTML page"),
        ((404, PAGE), "an HTML page"),
        ((405, PAGE), "an HTML page"),
        ((200, b""), "nothing"),
        ((200, b'{"hello": "world"}'), "JSON that is not the API's"),
        ((200, b"\x1b[2J" + b"x" * 200_000), "text that is not JSON"),
    ],
)
def test_something_else_answers(answer: Answer, words: str) -> None:
    """Ten lines at most say what answered, where, and what to check; the page is nowhere, not even in the context."""
    with server(answer) as domain, pytest.raises(PrintableError) as caught:
        open_project(client_of(domain), HASH)
    message = str(caught.value)
    assert f"{domain} is not the Encord API: it sent {words}" in message
    assert "ENCORD_DOMAIN" in message
    assert "\x1b" not in message
    assert len(message) < 500
    assert not isinstance(caught.value, OutageError)
    assert all(len(described(one)) < 500 for one in chain(caught.value))


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (300, "(Multiple Choices), so the project"),
        (406, "(Not Acceptable), so the project"),
        (407, "asks for a name and a password"),
        (418, "(I'm a Teapot), so the project"),
        (421, "(Misdirected Request), so the project"),
        (430, "status 430, so the project"),
        (451, "(Unavailable For Legal Reasons), so the project"),
    ],
)
@pytest.mark.parametrize("body", [b"", PAGE, b'{"message": "Ask elsewhere."}'])
def test_a_status_that_is_final(status: int, words: str, body: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """A status that another try would not change ends it at once, and is named with what to check."""
    with server((status, body)) as domain, pytest.raises(PrintableError) as caught:
        open_project(client_of(domain), HASH, max_outage=3600)
    message = str(caught.value)
    assert domain in message
    assert f"HTTP status {status}" in message
    assert words in message
    assert ("HTTP_PROXY" if status == 407 else "ENCORD_DOMAIN") in message
    assert ("Ask elsewhere." in message) == (body.startswith(b"{") and status != 407)
    assert not isinstance(caught.value, OutageError)
    assert not caplog.records


@pytest.mark.parametrize("status", [408, 425, 429, 500, 520])
def test_a_status_that_passes(status: int) -> None:
    """A status that another try may not get is waited out."""
    with server((status, b"")) as domain, pytest.raises(OutageError):
        open_project(client_of(domain), HASH, max_outage=0)


@pytest.mark.parametrize(
    ("proxy", "words"),
    [
        (407, r"asks for a name and a password \(HTTP status 407\).*HTTPS_PROXY"),
        (403, r"does not connect to it \(HTTP status 403\).*api\.platform\.example in NO_PROXY"),
        (404, r"does not connect to it \(HTTP status 404\)"),
        ("http://me:hidden@s:s/#w@127.0.0.1:9", "HTTPS_PROXY is not the address of a proxy.*%XX"),
        ("http://:9", "HTTPS_PROXY is not the address of a proxy"),
        ("socks5h://127.0.0.1:9", r"SOCKS proxy.*requests\[socks\]"),
    ],
)
def test_a_proxy_at_fault(
    proxy: int | str, words: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A proxy that refuses a tunnel, or cannot be used, is not waited for: the error names the remedy."""
    with forward_proxy(refusal=proxy if isinstance(proxy, int) else None) as address:
        use_proxy(monkeypatch, address if isinstance(proxy, int) else proxy)
        with pytest.raises(PrintableError, match=words) as caught:
            open_project(client_of("https://api.platform.example"), HASH, max_outage=3600)
    assert not isinstance(caught.value, OutageError)
    assert "https://api.platform.example" in str(caught.value)
    assert not any("hidden" in described(one) for one in chain(caught.value))
    assert not caplog.records


@pytest.mark.parametrize("proxy", [429, 503, "http://127.0.0.1:9"])
def test_a_proxy_in_trouble(
    proxy: int | str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A proxy that cannot be reached, or is out of order, is waited for, as the platform would be."""
    with forward_proxy(refusal=proxy if isinstance(proxy, int) else None) as address:
        use_proxy(monkeypatch, address if isinstance(proxy, int) else proxy)
        with pytest.raises(OutageError):
            open_project(client_of("https://api.platform.example"), HASH, max_outage=0)
    assert "the proxy did not let the request through (see HTTPS_PROXY, NO_PROXY)" in caplog.text


@pytest.mark.parametrize("proxy", [None, 503, "http://127.0.0.1:9"])
def test_this_machine_behind_a_proxy(world: World, proxy: int | str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The local platform is not to be found there, whatever the proxy sends: it ends at once, and names NO_PROXY."""
    with forward_proxy(refusal=proxy if isinstance(proxy, int) else None) as address:
        use_proxy(monkeypatch, proxy if isinstance(proxy, str) else address)
        with pytest.raises(PrintableError, match=r"is this machine.*NO_PROXY=127\.0\.0\.1,localhost") as caught:
            open_project(sending_once(world.client), HASH, max_outage=3600)
        assert world.platform.domain in str(caught.value)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
        with pytest.raises(AuthorisationError):
            open_project(sending_once(world.client), HASH)


def test_the_api_refuses(world: World) -> None:
    """What the API itself says passes as the SDK's exception, with a note."""
    with pytest.raises(AuthorisationError) as caught:
        open_project(sending_once(world.client), HASH)
    assert "member" in caught.value.__notes__[0]


@pytest.mark.parametrize("page", [b"", PAGE, b'{"message": "maintenance"}'])
def test_trouble_that_lasts(page: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """A platform in trouble is an outage, whatever it sends with its 503: a warning at once, an error in the end."""
    with server((503, page)) as domain, pytest.raises(OutageError) as caught:
        open_project(client_of(domain), HASH, max_outage=0)
    assert domain in str(caught.value)
    assert "report" not in str(caught.value)
    assert len(str(caught.value)) < 800
    (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert domain in warning.getMessage()


@pytest.mark.parametrize(
    "fault",
    [
        Fault("project", action="status", status=503, times=2),
        Fault("project", action="status", status=429, retry_after=0),
        Fault("project", action="drop_before", times=2),
        Fault("ontology", action="drop_after"),
    ],
    ids=lambda fault: fault.action,
)
def test_trouble_that_passes(world: World, fault: Fault, caplog: pytest.LogCaptureFixture) -> None:
    """It is waited for, with one warning that names the address; the constructor waits too."""
    world.platform.faults.add(fault)
    assert world.runner().project is not None
    assert not world.platform.faults.pending
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert world.platform.domain in warnings[0]


def test_nobody_there() -> None:
    """On this machine nobody may come up by itself: it ends at once, and says how the local platform is started."""
    domain = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(PrintableError, match=r"Nobody listens at .*encord-agents local up") as caught:
        open_project(client_of(domain), HASH)
    assert domain in str(caught.value)
    assert not isinstance(caught.value, OutageError)


def test_no_such_host(caplog: pytest.LogCaptureFixture) -> None:
    """A name that cannot be resolved may be a network that is down: an outage, and the warning says which it is."""
    with pytest.raises(OutageError):
        open_project(client_of("http://no-such-host.invalid"), HASH, max_outage=0)
    assert "there is no host of that name" in caplog.text


def test_a_certificate_that_is_not_trusted(tmp_path: Path) -> None:
    """It is no outage: it ends at once, with the remedy."""
    with server((200, b""), private_authority(tmp_path)[0]) as domain, pytest.raises(CertificateError) as caught:
        open_project(client_of(domain), HASH)
    assert domain in str(caught.value)
    assert "REQUESTS_CA_BUNDLE" in str(caught.value)


def test_a_stop_ends_the_wait() -> None:
    """It is not waited for what will not be used."""
    stop = Stop()
    with server((503, b"")) as domain:
        timer = threading.Timer(0.2, stop.request)
        timer.start()
        with pytest.raises(Leaving):
            open_project(client_of(domain), HASH, stop=stop)
        timer.join()


def test_a_stopped_run() -> None:
    """A run that is stopped while it waits for its project ends with a report that says so; a Ctrl-C is raised."""
    with server((503, b"")) as domain, ThreadPoolExecutor(1) as pool:
        client = client_of(domain)
        runner, queue, stop = Runner(user_client=client), QueueRunner(HASH, user_client=client), Stop()
        for one in (runner, queue):
            one.stage("Pre")(lambda: None)
        stop.request("terminate")
        assert runner(project_hash=HASH, stop=stop).stopped == "terminated"
        assert runner.run_stage("Pre", project_hash=HASH, stop=stop).stopped == "terminated"
        assert queue.drain(executor=pool, stop=stop).stopped == "terminated"
        stop = Stop()
        stop.request("interrupt")
        with pytest.raises(KeyboardInterrupt):
            runner(project_hash=HASH, stop=stop)


@pytest.mark.parametrize("error", [AuthenticationError("x"), AuthorisationError("x"), EncordException("x")])
def test_advice(error: EncordException) -> None:
    """The exception is the SDK's own, with one note."""
    assert with_advice(error, HASH) is error
    assert len(error.__notes__) == 1


def test_advice_believes_no_page() -> None:
    """A 403 whose page is not the API's says nothing about the key."""
    with server((403, PAGE)) as domain, pytest.raises(AuthorisationError) as caught:
        client_of(domain).get_project(str(HASH))
    with_advice(caught.value, HASH, doing="run agents in")
    assert "is not the Encord API" in caught.value.__notes__[0]
