"""Key pairs for notebooks, on Colab and elsewhere."""

from __future__ import annotations

import html
import os
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from encord_agents.exceptions import PrintableError

__all__ = [
    "IS_COLAB",
    "generate_public_private_key_pair_with_instructions",
    "generate_public_private_keypair",
    "is_running_on_colab",
]

KEYS_PAGE = "https://app.encord.com/settings/public-keys"


def is_running_on_colab() -> bool:
    """Return whether this process is a kernel of Google Colab."""
    return "google.colab" in sys.modules


IS_COLAB = is_running_on_colab()
"""True in a kernel of Google Colab."""


def generate_public_private_keypair(public_key_path: str | Path | None = None) -> tuple[Path, Path]:
    """Return the files of a key pair; make those that are missing.

    A private key is never overwritten: if only its public half is missing, that is derived from it again.

    Args:
        public_key_path: The file of the public key, whose name ends in ``.pub``. Default: ``temporary_key.pub`` in the
            working directory.

    Returns:
        The file of the public key, and that of the private key: the same name without ``.pub``, readable by its owner
        alone.

    Raises:
        PrintableError: The name does not end in ``.pub``, or the private key that is there cannot be read as one.
    """
    public = Path.cwd() / "temporary_key.pub" if public_key_path is None else Path(public_key_path).expanduser()
    if public.suffix != ".pub":
        raise PrintableError(f"The name of a public key's file ends in '.pub', as in {public.name}.pub.")
    private = public.with_suffix("")
    if public.is_file() and private.is_file():
        return public, private
    if private.is_file():
        key = _private_key(private)
    else:
        key = Ed25519PrivateKey.generate()
        # Created with its final mode: others could read it before a chmod.
        with os.fdopen(os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH) + b"\n")
    return public, private


def generate_public_private_key_pair_with_instructions(
    public_key_path: str | Path | None = None,
) -> tuple[Path, Path]:
    """Return the files of a key pair, and show in the notebook how to register the public key.

    The private key is not shown: the output is saved with the notebook.

    Args:
        public_key_path: As for `generate_public_private_keypair`.

    Returns:
        The files of the private key and of the public key, in this order.
    """
    public, private = generate_public_private_keypair(public_key_path)
    text = public.read_text().strip()
    try:
        from IPython.core.getipython import get_ipython
        from IPython.display import HTML, display

        notebook = get_ipython() is not None
    except ImportError:
        notebook = False
    if notebook:
        display(HTML(_instructions(text, private)))  # type: ignore[no-untyped-call]
    else:
        print(f"Register this public key at {KEYS_PAGE}:\n\n{text}\n\nThe private key is in {private}.")  # noqa: T201
    return private, public


def _private_key(path: Path) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.serialization import load_ssh_private_key

    try:
        key = load_ssh_private_key(path.read_bytes(), password=None)
    except (ValueError, OSError):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise PrintableError(
            f"The file {path} is there, without a public key next to it, and is not an Ed25519 private key. "
            "It is left as it is: move it away, or choose another name."
        )
    return key


def _instructions(public_key: str, private: Path) -> str:
    key = html.escape(public_key)
    hint = ""
    if IS_COLAB:
        hint = (
            "<p>Colab forgets files. To keep the key, put the content of the private key's file into "
            "<b>Secrets</b> (the key symbol on the left) under the name <code>ENCORD_SSH_KEY</code>.</p>"
        )
    return f"""\
<div style="border:1px solid #8884;border-radius:6px;padding:0 1em">
<p><b>Connect this notebook to Encord</b></p>
<ol>
<li>Copy the public key:<br><code style="user-select:all;overflow-wrap:anywhere">{key}</code>
<button onclick="navigator.clipboard.writeText(this.previousElementSibling.textContent)">Copy</button></li>
<li>Open <a href="{KEYS_PAGE}" target="_blank" rel="noopener">the page of your keys</a> and choose <b>New key</b>.</li>
<li>Give it a title, insert the key, and create it.</li>
</ol>
<p>The private key is in <code>{html.escape(str(private))}</code>. Keep it to yourself.</p>{hint}
</div>"""
