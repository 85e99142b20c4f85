"""Key pairs for notebooks."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests import preloaded

from encord_agents.core.settings import Settings
from encord_agents.exceptions import PrintableError
from encord_agents.utils import colab


def test_a_new_key_pair(tmp_path: Path) -> None:
    """The key can be signed in with, and is readable by its owner alone; its public half is beside it."""
    public, private = colab.generate_public_private_keypair(tmp_path / "key.pub")
    assert (public, private) == (tmp_path / "key.pub", tmp_path / "key")
    assert private.stat().st_mode & 0o777 == 0o600
    assert public.read_text().startswith("ssh-ed25519 ")
    assert Settings(ssh_key_file=private).ssh_key


def test_a_key_pair_that_is_there(tmp_path: Path) -> None:
    """A cell that is run again keeps the key, and writes a public half that was lost."""
    public, private = colab.generate_public_private_keypair(tmp_path / "key.pub")
    before = private.read_bytes(), public.read_text()
    assert colab.generate_public_private_keypair(public) == (public, private)
    public.unlink()
    colab.generate_public_private_keypair(public)
    assert (private.read_bytes(), public.read_text()) == before


def test_what_is_no_key_is_left_as_it_is(tmp_path: Path) -> None:
    """A file in the private key's place is not overwritten."""
    (tmp_path / "key").write_text("a diary")
    with pytest.raises(PrintableError, match="left as it is"):
        colab.generate_public_private_keypair(tmp_path / "key.pub")
    assert (tmp_path / "key").read_text() == "a diary"


def test_a_name_without_pub(tmp_path: Path) -> None:
    """Where the public key goes has to be plain from its name."""
    with pytest.raises(PrintableError, match="ends in"):
        colab.generate_public_private_keypair(tmp_path / "key")


def test_instructions_outside_a_notebook(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a notebook they are printed, and never show the private key."""
    monkeypatch.chdir(tmp_path)
    private, public = colab.generate_public_private_key_pair_with_instructions()
    said = capsys.readouterr().out
    assert public.read_text().strip() in said
    assert private.read_text().splitlines()[1] not in said
    assert private.read_text().splitlines()[1] not in colab._instructions(public.read_text(), private)


def test_here_is_not_colab() -> None:
    """Only a kernel of Colab is one."""
    assert not colab.IS_COLAB
    assert not colab.is_running_on_colab()


def test_instructions_in_a_notebook(tmp_path: Path) -> None:
    """In IPython they are shown as HTML with the public key, and the private key is not in them."""
    script = """
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
InteractiveShell.instance()
from encord_agents.utils.colab import generate_public_private_key_pair_with_instructions
with capture_output() as captured:
    private, public = generate_public_private_key_pair_with_instructions()
(shown,) = captured.outputs
html = shown.data["text/html"]
assert public.read_text().strip() in html
assert private.read_text().splitlines()[1] not in html
assert private.name == "temporary_key"
"""
    preloaded.run([sys.executable, "-c", script], cwd=tmp_path, check=True, timeout=120)
