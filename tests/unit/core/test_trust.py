"""Certificates are read once, and what is trusted stays what `requests` says."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import certifi
import pytest
import requests
from tests.servers import private_authority, server

from encord_agents.core import trust
from encord_agents.core.trust import TrustingAdapter


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


def test_a_file_that_is_none(tmp_path: Path, collect_garbage: Callable[[], int]) -> None:
    """It is refused as `requests` refuses it."""
    context, _ = private_authority(tmp_path)
    (tmp_path / "garbage").write_text("no certificates")
    said = []
    with server((200, b"yes"), context) as address:
        for adapter in (TrustingAdapter(), requests.adapters.HTTPAdapter()):
            with session() as one:
                one.mount("https://", adapter)
                with pytest.raises((OSError, requests.exceptions.SSLError)) as caught:
                    one.get(address, verify=str(tmp_path / "garbage"))
                said.append(type(caught.value))
    collect_garbage()
    assert said[0] is said[1]


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
