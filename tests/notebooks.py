"""The notebooks of docs/notebooks, run in a real kernel: ``python -m tests.notebooks`` runs them and keeps the outputs.

An output that says the same as the one that is kept, times and random names aside, is not replaced, so that running
them again changes nothing.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jupyter_client.manager import KernelManager
from tests import preloaded
from tests.ports import free_port

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))

Output = dict[str, Any]

PATIENCE = 170
"""Seconds for a cell."""


def read(path: Path) -> dict[str, Any]:
    notebook: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return notebook


def code_cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


class Kernel:
    """A kernel, and what its cells put out."""

    def __init__(self, client: Any, manager: Any) -> None:
        self.client = client
        self.manager = manager
        self.messages: list[str] = []
        """The types of all output messages, in order."""
        self.on_output: Any = None
        """Called with each output message, if it is set."""

    def run(self, source: str) -> list[Output]:
        """Run a cell, and return its outputs as a notebook's file has them."""
        outputs: list[Output] = []
        shown: dict[str, Output] = {}

        def hook(message: dict[str, Any]) -> None:
            kind, content = message["msg_type"], message["content"]
            if kind in ("stream", "display_data", "update_display_data", "execute_result", "error"):
                self.messages.append(kind)
            if self.on_output is not None:
                self.on_output(message)
            match kind:
                case "stream" if outputs and outputs[-1].get("name") == content["name"]:
                    outputs[-1]["text"] += content["text"]
                case "stream":
                    outputs.append({"output_type": kind, "name": content["name"], "text": content["text"]})
                case "update_display_data":
                    shown[content["transient"]["display_id"]]["data"] = content["data"]
                case "display_data" | "execute_result":
                    outputs.append({"output_type": kind, "data": content["data"], "metadata": content["metadata"]})
                    if kind == "execute_result":
                        outputs[-1]["execution_count"] = content["execution_count"]
                    elif (display := content.get("transient", {}).get("display_id")) is not None:
                        shown[display] = outputs[-1]
                case "error":
                    outputs.append({"output_type": kind, **content})

        self.client.execute_interactive(source, output_hook=hook, timeout=PATIENCE, allow_stdin=False)
        return outputs


@contextlib.contextmanager
def kernel(folder: Path, environment: dict[str, str] | None = None) -> Iterator[Kernel]:
    """A kernel that works in a folder, with this tree's library and without anybody's credentials."""
    ports = {name: free_port() for name in ("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port")}
    manager = KernelManager(ip="127.0.0.1", **ports)
    theirs = {name: value for name, value in os.environ.items() if not name.startswith(("ENCORD_", "MODEL_"))}
    path = os.pathsep.join(filter(None, sys.path))
    manager.start_kernel(
        cwd=str(folder), env=theirs | {"PYTHONPATH": path, "PYTHONWARNINGS": "ignore"} | (environment or {})
    )
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=100)
        yield Kernel(client, manager)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()


def outputs_of(notebook: dict[str, Any], folder: Path) -> list[list[Output]]:
    """Run a notebook from its first cell to its last, or to one that fails, and return each cell's outputs."""
    found = []
    with preloaded.commands(folder / "bin") as commands, kernel(folder) as running:
        running.run(f"import sys; sys.executable = {str(commands / 'python')!r}; del sys")
        for cell in code_cells(notebook):
            found.append(running.run("".join(cell["source"])))
            if any(output["output_type"] == "error" for output in found[-1]):
                break
    return found


def alike(outputs: list[Output]) -> list[Any]:
    """What outputs say, without times, random names, and the pixels of pictures."""
    return [
        [output["output_type"], output.get("name"), _plain(_first_line(output)), _data(output)] for output in outputs
    ]


def _first_line(output: Output) -> str:
    """What a stream says; of stderr, where tracebacks are, the first line."""
    text = "".join(output.get("text", ""))
    return text.partition("\n")[0] if output.get("name") == "stderr" else text


def _data(output: Output) -> dict[str, str]:
    data = {kind: "".join(text) for kind, text in output.get("data", {}).items()}
    return {kind: _picture(text) if kind.startswith("image/") else _plain(text) for kind, text in data.items()}


def _picture(data: str) -> str:
    from PIL import Image

    with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
        return f"{picture.format} {picture.size}"


def _plain(text: str) -> str:
    text = _nowhere(text)
    text = re.sub(r"<pre.*?</pre>|; most time went into [^)]*\)", "", text, flags=re.DOTALL)  # lines of this library
    text = re.sub(r"data:image/\w+;base64,([\w+/=]+)", lambda found: _picture(found[1]), text)
    text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|0x[0-9a-f]+|127\.0\.0\.1:\d+", "#", text)
    text = re.sub(r"^.* of \d+; .* per second; .*\n", "", text, flags=re.MULTILINE)  # of a run that took a while
    text = re.sub(r"\d+:\d\d(, \d+:\d\d left)?|\d+\.\d+", "#", text)
    return re.sub(r" +", " ", text)


def _nowhere(text: str) -> str:
    """A text without the places that it was made in."""
    # A path begins where nothing of it is before, which pictures in base64 would be searched through for.
    text = re.sub(r"(?<![\w+/=.-])/[\w+/.-]*/ipykernel_\d+/\d+\.py", "a cell", text)
    text = re.sub(r"(?<![\w+/=.-])/[\w+/.-]*/(site-packages|src|lib/python3\.\d+)/", "", text)
    return re.sub(r"(?<![\w+/=.-])/tmp/[\w+/.-]*/", "", text)


def _lines(text: str) -> list[str]:
    return _nowhere(text).splitlines(keepends=True)


def run_again(path: Path) -> None:
    """Run a notebook, and keep its outputs where they say something new."""
    notebook = read(path)
    with tempfile.TemporaryDirectory() as folder:
        found = outputs_of(notebook, Path(folder))
    for number, (cell, outputs) in enumerate(zip(code_cells(notebook), found, strict=True), 1):
        for output in outputs:
            assert output["output_type"] != "error", "\n".join(output["traceback"])
            if "text" in output:
                output["text"] = _lines(output["text"])
            for kind, text in output.get("data", {}).items():
                output["data"][kind] = text if kind.startswith("image/") else _lines(text)
            if "execution_count" in output:
                output["execution_count"] = number
        cell["execution_count"] = number
        if alike(cell["outputs"]) != alike(outputs):
            cell["outputs"] = outputs
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    for one in [Path(name) for name in sys.argv[1:]] or NOTEBOOKS:
        run_again(one)
