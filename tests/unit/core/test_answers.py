"""Who answered, read from what the SDK really raises over real connections."""

from __future__ import annotations

import ssl
import sys
from pathlib import Path

import pytest
import requests
from encord import EncordUserClient
from encord.exceptions import EncordException
from encord.http.constants import RequestsSettings
from tests.ports import free_port
from tests.servers import PAGE, Answer, answering, private_authority, server

from encord_agents.core.answers import is_loopback, refused_certificate, unreachable
from encord_agents.core.sdk.messages import foreign_answer
from encord_agents.core.trust import TrustError
from encord_agents.local.keys import new_key


def raised(domain: str) -> EncordException:
    """What the SDK raises when a project is opened there."""
    client = EncordUserClient.create_with_ssh_private_key(
        new_key(), domain=domain, requests_settings=RequestsSettings(max_retries=0, connection_retries=0)
    )
    with pytest.raises(EncordException) as caught:
        client.get_project("3f2504e0-4f89-11d3-9a0c-0305e82c3301")
    return caught.value


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((200, PAGE), "an HTML page"),
        ((401, PAGE), "an HTML page"),
        ((403, PAGE), "an HTML page"),
        ((404, PAGE), "an HTML page"),
        ((200, b""), "nothing"),
        ((200, b" \n"), "nothing"),
        ((404, b"Not \x1b[31mFound" + b"!" * 100), "text that is not JSON (Not \\x1b[31mFound" + "!" * 43 + "...)"),
        ((200, b'{"hello": "world"}'), "JSON that is not the API's"),
        ((200, b"[1]"), "JSON that is not the API's"),
        ((403, b"[1]"), "JSON that is not the API's"),
        ((302, b""), "redirects without end"),
        ((403, b'{"message": "no"}'), None),
        ((404, b'{"message": "no such project"}'), None),
    ],
)
def test_foreign_answers(answer: Answer, words: str | None) -> None:
    """A page, nothing, text and foreign JSON are told from the API's own refusals."""
    with server(answer) as domain:
        error = raised(domain)
    assert foreign_answer(error) == words
    assert unreachable(error) is None


def test_other_protocols() -> None:
    """Something that does not speak HTTP says so; a connection that is closed without a word is an outage."""
    for banner, words in ((b"SSH-2.0-OpenSSH_9.9\r\n", "something that is not HTTP"), (b"", None)):
        with answering(lambda connection, said=banner: connection.sendall(said)) as url:
            assert foreign_answer(raised(url.partition("/file")[0])) == words


def test_nobody_there() -> None:
    """A refused connection and a host that does not exist say so."""
    assert (
        unreachable(raised(f"http://127.0.0.1:{free_port()}")) == "no server listens there (the connection was refused)"
    )
    assert unreachable(raised("http://no-such-host.invalid")) == "there is no host of that name"
    with server((200, b"")) as domain:
        assert "does not speak TLS" in (unreachable(raised(domain.replace("http:", "https:"))) or "")


def test_certificates(tmp_path: Path) -> None:
    """A certificate that is not accepted is told from an outage, with the variable that mends it."""
    with server((200, b""), private_authority(tmp_path)[0]) as domain:
        error = raised(domain)
    assert "unable to get local issuer certificate" in (refused_certificate(error) or "")
    assert "REQUESTS_CA_BUNDLE" in (unreachable(error) or "")
    assert refused_certificate(ValueError("something else")) is None


def test_certificates_that_break_the_rules(tmp_path: Path) -> None:
    """No variable mends those that Python refuses from 3.13 on, though their authority is trusted: so it is said."""
    context, authority = private_authority(tmp_path, strict=False)
    with server((200, b""), context) as domain:
        if sys.version_info < (3, 13):
            assert requests.get(domain, verify=str(authority), timeout=60).ok
            return
        with pytest.raises(requests.exceptions.SSLError) as caught:
            requests.get(domain, verify=str(authority), timeout=60)
    said = refused_certificate(caught.value) or ""
    assert "Missing Authority Key Identifier" in said
    assert "RFC 5280" in said
    assert "REQUESTS_CA_BUNDLE" not in said


def test_certificates_that_are_not_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the variable names none that help, its value is told, and in a directory, the names that files need."""
    monkeypatch.setenv("CURL_CA_BUNDLE", str(tmp_path))
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    with server((200, b""), private_authority(tmp_path)[0]) as domain:
        said = refused_certificate(raised(domain)) or ""
    assert f"CURL_CA_BUNDLE names '{tmp_path}'" in said
    assert "openssl rehash" in said
    assert refused_certificate(TrustError("there is no file")) == "there is no file"


@pytest.mark.parametrize(("code", "words"), [(20, "REQUESTS_CA_BUNDLE"), (85, "RFC 5280"), (92, "RFC 5280")])
def test_what_mends_a_certificate(code: int, words: str) -> None:
    """It depends on what is wrong with it."""
    error = ssl.SSLCertVerificationError(1, "refused")
    error.verify_code, error.verify_message = code, "some reason"
    assert words in (refused_certificate(error) or "")


@pytest.mark.parametrize(
    ("address", "here"),
    [
        ("http://127.0.0.1:8765", True),
        ("http://localhost", True),
        ("http://[::1]:1", True),
        ("https://api.encord.com", False),
        ("http://10.0.0.1", False),
        ("nonsense", False),
    ],
)
def test_loopback(address: str, here: bool) -> None:
    """This machine is told from others."""
    assert is_loopback(address) is here
