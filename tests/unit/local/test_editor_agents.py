"""Registered editor agents: which names and addresses can be, and that they are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from encord_agents.local import LocalPlatform, LocalPlatformError

ADDRESS = "http://127.0.0.1:8080/box"


@pytest.mark.parametrize(
    "address",
    [
        ADDRESS,
        "http://localhost/",
        "https://box.localhost:8443/a/b?c=d",
        "http://[::1]:80/x",
        " http://127.1.2.3 ",
    ],
)
def test_addresses_of_this_machine(local_platform: LocalPlatform, address: str) -> None:
    """By any name it has for certain."""
    local_platform.add_editor_agent("box", address)
    assert local_platform.editor_agents() == {"box": address.strip()}


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("", "http"),
        ("box", "http"),
        ("ftp://127.0.0.1/", "http"),
        ("file:///etc/passwd", "http"),
        ("http://", "http"),
        ("http://127.0.0.1:0/", "http"),
        ("http://127.0.0.1:99999/", "not an address"),
        ("http://[::1/", "not an address"),
        ("http://127.0.0.1/a b", "characters"),
        ("http://127.0.0.1/\r\nX: y", "characters"),
        ("http://127.0.0.1/ü", "characters"),
        ("http://127.0.0.1/" + "x" * 2_000, "too many"),
        ("http://user:secret@127.0.0.1/", "password"),
        ("http://127.0.0.1/#here", "#"),
        ("http://10.0.0.1/", "not this machine"),
        ("http://169.254.169.254/latest/meta-data", "not this machine"),
        ("http://agents.example.com/", "--elsewhere"),
        ("http://127.0.0.1.evil.example/", "not this machine"),
        ("http://localhost.evil.example/", "not this machine"),
    ],
)
def test_other_addresses_are_refused(local_platform: LocalPlatform, address: str, told: str) -> None:
    """The message says why, and repeats no password."""
    with pytest.raises(LocalPlatformError) as caught:
        local_platform.add_editor_agent("box", address)
    assert told in str(caught.value)
    assert "secret" not in str(caught.value)
    assert local_platform.editor_agents() == {}


def test_other_machines_where_that_is_asked_for(local_platform: LocalPlatform) -> None:
    """Not by mistake."""
    local_platform.add_editor_agent("box", "https://agents.example.com/box", elsewhere=True)
    assert local_platform.editor_agents() == {"box": "https://agents.example.com/box"}


@pytest.mark.parametrize("name", ["", " ", "x" * 81, "a\nb", "a\x1b[31m", "a\u202eb"])
def test_names_are_printable(local_platform: LocalPlatform, name: str) -> None:
    """And short: they are on buttons."""
    with pytest.raises(LocalPlatformError, match="printable"):
        local_platform.add_editor_agent(name, ADDRESS)


def test_agents_are_kept_in_order(tmp_path: Path) -> None:
    """Across restarts; a name that is there gets the new address; one that is not cannot be removed."""
    with LocalPlatform(tmp_path / "data") as platform:
        for name in ("a", "b", "c"):
            platform.add_editor_agent(name, ADDRESS)
        platform.add_editor_agent("b", f"{ADDRESS}2")
    with LocalPlatform(tmp_path / "data") as platform:
        assert list(platform.editor_agents().items()) == [("a", ADDRESS), ("b", f"{ADDRESS}2"), ("c", ADDRESS)]
        platform.remove_editor_agent("a")
        with pytest.raises(LocalPlatformError, match="'b', 'c'"):
            platform.remove_editor_agent("a")
        platform.clear()
        assert platform.editor_agents() == {}
