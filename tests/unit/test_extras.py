"""A missing extra is named where it is first needed, with the command that installs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image
from tests import preloaded

from encord_agents.exceptions import MissingExtraError, PrintableError
from encord_agents.extras import needing, require

BLOCKED = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Block())
for name in [*sys.modules]:
    if name.partition(".")[0] in {{*{blocked!r}, "encord_agents"}}:
        del sys.modules[name]
"""


def without(*blocked: str, run: str) -> subprocess.CompletedProcess[str]:
    """A Python that cannot import some packages."""
    code = BLOCKED.format(blocked=set(blocked)) + run
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return preloaded.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)


AGENT = """
from typing import Annotated, Any
from encord_agents.tasks import QueueRunner, Runner
from encord_agents.tasks.dependencies import *
from encord_agents.tasks.dependencies import Depends
from encord_agents.exceptions import MissingExtraError
runner = {runner}
def inner(found: Annotated[Any, Depends({dependency})]) -> Any:
    return found
def agent(found: Annotated[Any, Depends(inner)]) -> str: ...
try:
    runner.stage("Pre-label")(agent)
except MissingExtraError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("runner", "dependency"),
    [
        ("Runner()", "dep_single_frame"),
        ("Runner()", "dep_video_iterator"),
        ("QueueRunner('3f2504e0-4f89-11d3-9a0c-0305e82c3301')", "dep_video_sampler"),
    ],
)
def test_vision(runner: str, dependency: str) -> None:
    """An agent that needs frames, also through a dependency of its own, is refused at decoration."""
    ended = without("av", "PIL", run=AGENT.format(runner=runner, dependency=dependency))
    assert ended.stdout == (
        f"agent() uses {dependency}, which needs the 'vision' extra, of which av, pillow are not installed here.\n"
        "Install it: pip install 'encord-agents[vision]'\n"
    ), ended.stderr


@pytest.mark.parametrize(
    ("blocked", "dependency", "extra"),
    [
        ("pypdfium2", "dep_pdf_pages", "pdf"),
        ("av", "dep_audio", "vision"),
        ("av", "dep_object_crops()", "vision"),
        ("av", "of_child(0, dep_single_frame)", "vision"),
    ],
)
def test_each_dependency_names_its_extra(blocked: str, dependency: str, extra: str) -> None:
    """Those that are made by a call, too."""
    ended = without(blocked, run=AGENT.format(runner="Runner()", dependency=dependency))
    assert f"needs the '{extra}' extra, of which {blocked}" in ended.stdout, ended.stderr


def test_a_partial_of_a_dependency() -> None:
    """Its extra is that of the function in it."""
    run = "import functools\n" + AGENT.format(runner="Runner()", dependency="functools.partial(dep_single_frame)")
    ended = without("numpy", run=run)
    assert "which needs the 'vision' extra, of which numpy is not installed" in ended.stdout, ended.stderr


CALL = """
from pathlib import Path
from types import SimpleNamespace
from encord.orm.storage import StorageItemType
from encord_agents.core.assets import Asset
from encord_agents.core.coordinates import mask_to_bbox, rbb_to_poly
from encord_agents.core.data_model import Frame
from encord_agents.core.documents import iterate_pages
from encord_agents.core.vision import read_first_frame, read_image
from encord_agents.exceptions import MissingExtraError
file = Path({file!r})
try:
    {call}
except MissingExtraError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("blocked", "call", "message"),
    [
        ("numpy", "read_image(file)", "Reading an image needs the 'vision' extra, of which numpy is"),
        ("PIL", "read_image(file)", "Reading an image needs the 'vision' extra, of which pillow is"),
        ("numpy", "read_first_frame(file)", "Reading an image needs the 'vision' extra, of which numpy is"),
        ("av", "read_first_frame(file, item_type=StorageItemType.VIDEO)", "Reading a video needs the 'vision' extra"),
        ("PIL", "Frame(0, SimpleNamespace(shape=(4, 4, 3))).b64_encoding()", "Encoding an image needs the 'vision'"),
        ("pypdfium2", "next(iterate_pages(file))", "Reading a PDF needs the 'pdf' extra, of which pypdfium2 is"),
        ("numpy", "mask_to_bbox(None)", "mask_to_bbox() needs the 'vision' extra"),
        ("numpy", "rbb_to_poly(None, 1, 1)", "rbb_to_poly() needs the 'vision' extra"),
    ],
)
def test_functions_that_agents_call(tmp_path: Path, blocked: str, call: str, message: str) -> None:
    """They name the missing extra, too, and do not blame the file."""
    file = tmp_path / "a.png"
    Image.new("RGB", (8, 8)).save(file)
    ended = without(blocked, run=CALL.format(file=str(file), call=call))
    assert ended.stdout.startswith(message), ended.stderr


def test_only_what_is_imported_is_missed() -> None:
    """Pages of documents are encoded without the packages for videos."""
    run = "from encord_agents.core.vision import b64_encode_image as encode\nimport numpy\n"
    ended = without("av", run=run + "print(encode(numpy.zeros((4, 4, 3), 'uint8'))[:4])")
    assert ended.stdout == "/9j/\n", ended.stderr


def test_an_import_that_fails_for_another_reason() -> None:
    """Its own error is raised."""
    with pytest.raises(ImportError, match="broken") as caught, needing("vision", "This"):
        raise ImportError("broken")
    assert not isinstance(caught.value, MissingExtraError)


def test_files_need_no_extra() -> None:
    """An agent that wants the file alone does without."""
    ended = without("av", "PIL", "numpy", run=AGENT.format(runner="Runner()", dependency="dep_asset") + "print('fine')")
    assert ended.stdout == "fine\n", ended.stderr


@pytest.mark.parametrize(
    ("blocked", "arguments", "extra"),
    [
        ("uvicorn", ["local", "status"], "local"),
        ("fastapi", ["serve", "agents:app"], "fastapi"),
        ("celery", ["celery", "status", "agents:app"], "celery"),
    ],
)
def test_commands(blocked: str, arguments: list[str], extra: str) -> None:
    """They say which extra they need, in two lines, and exit with 2."""
    run = f"sys.argv[1:] = {arguments!r}\nfrom encord_agents.cli.main import main\nmain()"
    ended = without(blocked, run=run)
    assert ended.returncode == 2
    assert f"pip install 'encord-agents[{extra}]'" in ended.stderr
    assert len(ended.stderr.splitlines()) == 2


@pytest.mark.parametrize(
    ("blocked", "imported", "extra"),
    [
        ("celery", "from encord_agents.integrations.celery import register", "celery"),
        ("starlette", "from encord_agents.local import LocalPlatform", "local"),
        ("fastapi", "import encord_agents.fastapi", "fastapi"),
        ("fastapi", "from encord_agents.fastapi.dependencies import dep_label_row", "fastapi"),
        ("flask", "from encord_agents.gcp import editor_agent", "gcp"),
    ],
)
def test_imports(blocked: str, imported: str, extra: str) -> None:
    """An import that fails for want of an extra is still an `ImportError`."""
    run = f"try:\n    {imported}\nexcept ImportError as error:\n    print(error.extra, error)"
    ended = without(blocked, run=run)
    assert ended.stdout.startswith(f"{extra} "), ended.stderr
    assert f"encord-agents[{extra}]" in ended.stdout


def test_a_function_without_its_server() -> None:
    """Google Cloud's agents need Flask alone, as where another server, or a test, calls them."""
    ended = without("functions_framework", run="from encord_agents.gcp import editor_agent\nprint('fine')")
    assert ended.stdout == "fine\n", ended.stderr


def test_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is installed passes, a test's stand-in does, and a package that is blocked does not."""
    require("vision", "This")
    monkeypatch.setitem(sys.modules, "av", ModuleType("av"))
    require("vision", "This")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match="This needs the 'vision' extra, of which av is not") as caught:
        require("vision", "This")
    assert caught.value.missing == ("av",)
    assert isinstance(caught.value, PrintableError)
    assert isinstance(caught.value, ImportError)
