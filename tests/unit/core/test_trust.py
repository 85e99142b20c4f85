"""Certificates are read once, and what is trusted stays what `requests` says."""

from __future__ import annotations

import errno
import os
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import certifi
import pytest
import requests
from tests.servers import private_authority, server

from encord_agents.core import trust
from encord_agents.core.settings import AUTHORITIES, authorities
from encord_agents.core.trust import TrustError, TrustingAdapter


@pytest.fixture(autouse=True)
def nothing_read(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Nothing was read yet; the files that are, from now on."""
    read: list[str] = []
    make = trust.create_urllib3_context

    class Counted(ssl.SSLContext):
        def load_verify_locations(self, cafile: Any = None, *others: Any) -> None:
            read.append(cafile)
            super().load_verify_locations(cafile, *others)

    def making(**options: Any) -> ssl.SSLContext:
        context = Counted(ssl.PROTOCOL_TLS_CLIENT)
        context.options = make(**options).options
        return context

    monkeypatch.setattr(trust, "create_urllib3_context", making)
    monkeypatch.setattr(trust, "_read", {})
    return read


def session() -> requests.Session:
    made = requests.Session()
    made.trust_env = False
    made.mount("https://", TrustingAdapter())
    return made


def test_a_file_is_read_once(tmp_path: Path, nothing_read: list[str]) -> None:
    """However many connections there are, in whichever session."""
    context, authority = private_authority(tmp_path)
    with server((200, b"yes"), context) as address:
        for _ in range(3):
            with session() as one:
                assert one.get(address, verify=str(authority)).text == "yes"
    assert nothing_read == [str(authority)]


def test_a_file_that_changes_is_read_again(tmp_path: Path, collect_garbage: Callable[[], int]) -> None:
    """What was taken out of it is not trusted any more by connections that are opened afterwards."""
    context, authority = private_authority(tmp_path)
    with server((200, b"yes"), context) as address:
        with session() as one:
            assert one.get(address, verify=str(authority)).text == "yes"
        authority.write_text(Path(certifi.where()).read_text())
        with session() as one, pytest.raises(requests.exceptions.SSLError):
            one.get(address, verify=str(authority))
    collect_garbage()  # the connection that was refused


@pytest.mark.parametrize("verify", [True, "another"])
def test_another_authority_is_refused(tmp_path: Path, verify: Any, collect_garbage: Callable[[], int]) -> None:
    """One of another file, or of the usual ones, is not enough; nor is a file that has been trusted elsewhere."""
    context, authority = private_authority(tmp_path)
    if verify == "another":
        (tmp_path / "other").mkdir()
        _, other = private_authority(tmp_path / "other")
        verify = str(other)
    with server((200, b"yes"), context) as address, session() as one:
        assert one.get(address, verify=str(authority)).text == "yes"
        with pytest.raises(requests.exceptions.SSLError):
            one.get(address, verify=verify)
    collect_garbage()


def test_a_host_of_another_name_is_refused(tmp_path: Path, collect_garbage: Callable[[], int]) -> None:
    """The name is compared as ever."""
    context, authority = private_authority(tmp_path)
    with server((200, b"yes"), context) as address, session() as one, pytest.raises(requests.exceptions.SSLError):
        one.get(address.replace("localhost", "127.0.0.1"), verify=str(authority))
    collect_garbage()


def test_nothing_to_verify(tmp_path: Path, nothing_read: list[str], collect_garbage: Callable[[], int]) -> None:
    """Who asks for no check has none, and the next who asks for one has it."""
    context, _ = private_authority(tmp_path)
    with server((200, b"yes"), context) as address, session() as one:
        with pytest.warns(Warning, match="Unverified"):
            assert one.get(address, verify=False).text == "yes"
        assert nothing_read == []
        with pytest.raises(requests.exceptions.SSLError):
            one.get(address)
    collect_garbage()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no such file or directory"),
        ("", "no certificate"),
        ("garbage", "no certificate"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "no certificate"),
    ],
    ids=["missing", "empty", "garbage", "damaged"],
)
@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", None])
def test_a_file_that_is_none(
    content: str | None, words: str, name: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is refused before anything is sent, by an error of `requests` with the path and the variable that names it."""
    path = str(tmp_path / "bundle.pem")
    if content is not None:
        Path(path).write_text(content)
    for variable in AUTHORITIES:
        monkeypatch.delenv(variable, raising=False)
    if name is not None:
        monkeypatch.setenv(name, path)
    assert authorities() == (path if name else None)
    with session() as one, pytest.raises(requests.exceptions.SSLError) as caught:
        one.get("https://127.0.0.1:9", verify=path)
    assert isinstance(caught.value, TrustError)
    assert words in str(caught.value)
    assert f"{name} names {path!r}" in str(caught.value) if name else repr(path) in str(caught.value)


def test_a_file_that_becomes_none(tmp_path: Path, collect_garbage: Callable[[], int]) -> None:
    """Connections that are open ask for nothing more, until the file is there again."""
    context, authority = private_authority(tmp_path)
    certificates = authority.read_bytes()
    with server((200, b"yes"), context) as address, session() as one:
        assert one.get(address, verify=str(authority)).text == "yes"
        authority.unlink()
        with pytest.raises(TrustError):
            one.get(address, verify=str(authority))
        authority.write_bytes(certificates)
        assert one.get(address, verify=str(authority)).text == "yes"
    collect_garbage()


def test_behind_a_proxy(tmp_path: Path) -> None:
    """The file is looked at as without one."""
    proxies = {"https": "http://127.0.0.1:9"}
    (tmp_path / "bundle.pem").write_text("garbage")
    with session() as one, pytest.raises(TrustError):
        one.get("https://storage.example", verify=str(tmp_path / "bundle.pem"), proxies=proxies)


def test_a_file_that_cannot_be_opened_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too few handles pass, so they are told as what they are."""

    def open_none(path: str) -> Any:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), path)

    monkeypatch.setattr(trust, "_context", open_none)
    _, authority = private_authority(tmp_path)
    with session() as one, pytest.raises(OSError, match=os.strerror(errno.EMFILE)) as caught:
        one.get("https://127.0.0.1:9", verify=str(authority))
    assert not isinstance(caught.value, TrustError)


def test_a_key_in_place_of_a_path(tmp_path: Path) -> None:
    """It is not shown, in the message or in what led to it."""
    key = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2Vw\n"
    with session() as one, pytest.raises(TrustError) as caught:
        one.get("https://127.0.0.1:9", verify=key)
    assert "MC4CAQ" not in str(caught.value)
    assert caught.value.__context__ is None


def test_a_context_of_ones_own_stays(tmp_path: Path, nothing_read: list[str]) -> None:
    """Where somebody has seen to it that connections are made in another way, they are."""
    context, authority = private_authority(tmp_path)
    own = ssl.create_default_context(cafile=str(authority))

    class Own(TrustingAdapter):
        def init_poolmanager(self, *args: Any, **options: Any) -> None:
            super().init_poolmanager(*args, ssl_context=own, **options)

    with server((200, b"yes"), context) as address, session() as one:
        one.mount("https://", Own())
        assert one.get(address).text == "yes"
    assert nothing_read == []
