"""The machine's problems fail no task: no room, no handles, no directory for files."""

from __future__ import annotations

import errno
import functools
import itertools
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import pytest
from encord.workflow.stages.agent import AgentTask
from tests import preloaded
from tests.disks import PLACES, Disk
from tests.drivers import DRIVERS, RUNNERS, Driver, Processes
from tests.thorough import THOROUGH

from encord_agents.core.assets import Asset
from encord_agents.core.data_model import ImageArray
from encord_agents.core.room import PREFIX
from encord_agents.exceptions import NoRoomError, PrintableError
from encord_agents.local.images import png
from encord_agents.tasks import Depends, QueueRunner
from encord_agents.tasks.dependencies import dep_asset, dep_single_frame

if TYPE_CHECKING:
    from tests.conftest import World

TASKS = 12
ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EROFS, errno.EIO)

FilePath = Annotated[Path, Depends(dep_asset)]


def injected(path: FilePath) -> str:
    assert path.exists()
    return "complete"


def asks_itself(asset: Asset) -> str:
    assert asset.path().exists()
    return "complete"


def takes_pixels(image: Annotated[ImageArray, Depends(dep_single_frame)]) -> str:
    assert image.shape == (48, 64, 3)
    return "complete"


AGENTS = [injected, asks_itself, takes_pixels]


@pytest.fixture
def size(world: World) -> int:
    """Of each task's file, in bytes."""
    world.project.add_placeholders(TASKS, title="file {index}")
    return len(png(64, 48))


def run(world: World, driver: Driver, agent: Callable[..., str], **options: object) -> list[str]:
    """Run an agent that there is no room for. What was told of it."""
    try:
        told = driver.run(world, agent, num_retries=0, **options)
    except NoRoomError as error:
        return [str(error)]
    assert set(told.counts) == {"failed"}  # engines that call a function have no other word; they try again
    return told.errors


@pytest.mark.parametrize("reserves", [True, False], ids=["reserves", "writes"])
@pytest.mark.parametrize("agent", AGENTS)
@pytest.mark.parametrize("driver", DRIVERS, ids=str)
def test_room_for_a_few(
    world: World, driver: Driver, agent: Callable[..., str], reserves: bool, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With room for some files at a time all tasks are done, and hardly a file is fetched twice."""
    disk = Disk(monkeypatch, capacity=int(3.5 * size), reserves=reserves)
    told = driver.run(world, agent, num_retries=3)
    assert told.counts == {"moved": TASKS}
    assert disk.most <= 3.5 * size
    # Where no room can be kept, all that begin together may find out too late.
    assert len(world.requests("asset")) < (2 if reserves else 3) * TASKS


@pytest.mark.parametrize("driver", [RUNNERS[0], DRIVERS[4]], ids=str)
def test_no_file_is_fetched_in_vain(world: World, driver: Driver, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the file system can reserve space, a file that does not fit is not even requested."""
    Disk(monkeypatch, capacity=size)
    assert driver.run(world, injected).counts == {"moved": TASKS}
    assert len(world.requests("asset")) == TASKS


# Each error in each driver, in one of the places; test_room.py has each in all of them.
ELSEWHERE = [place for place in PLACES if place != "reserve"]
SAID = list(itertools.product(ELSEWHERE, ERRORS) if THOROUGH else zip(2 * ELSEWHERE, ERRORS, strict=True))


@pytest.mark.parametrize(("place", "number"), SAID, ids=lambda one: errno.errorcode.get(one, one))
@pytest.mark.parametrize("driver", DRIVERS, ids=str)
def test_the_machine_says_no(
    world: World, driver: Driver, place: str, number: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every error of the machine is reported, fails no task, and sends none down the failure pathway."""
    Disk(monkeypatch, fails_at=place, number=number)
    told = run(world, driver, injected, failure_pathway="triage")
    assert told
    assert all("this machine" in line for line in told)
    assert world.count("Pre-label") == TASKS
    assert len(world.requests("asset")) <= 2 * TASKS


@pytest.mark.parametrize("number", ERRORS if THOROUGH else [errno.ENOSPC, errno.EMFILE], ids=errno.errorcode.get)
@pytest.mark.parametrize("driver", DRIVERS, ids=str)
def test_room_that_cannot_be_kept(
    world: World, driver: Driver, number: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The platform may say that a file is larger than it is, so it is fetched all the same when it is needed."""
    Disk(monkeypatch, fails_at="reserve", number=number)
    assert driver.run(world, injected).counts == {"moved": TASKS}
    assert len(world.requests("asset")) == TASKS


@pytest.mark.parametrize("agent", AGENTS)
@pytest.mark.parametrize("driver", DRIVERS, ids=str)
def test_a_file_larger_than_all_room(
    world: World, driver: Driver, agent: Callable[..., str], size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the run's reason to end, whoever asks for the file, and each worker finds that out once."""
    Disk(monkeypatch, capacity=size - 1)
    told = run(world, driver, agent, failure_pathway="triage")
    assert all("No space left on device" in line for line in told)
    assert world.count("Pre-label") == TASKS
    assert len(world.requests("asset")) <= 8


@pytest.mark.parametrize("driver", DRIVERS, ids=str)
def test_no_handle_to_read_a_picture(world: World, driver: Driver, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is there and cannot be opened, for want of handles, is not taken for a damaged one."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr("PIL.Image.open", refuse)
    told = run(world, driver, takes_pixels, failure_pathway="triage")
    assert all("Too many open files" in line and "ulimit -n" in line for line in told)
    assert world.count("Pre-label") == TASKS


def test_what_was_finished_is_written(world: World, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the report says why the run ended, once, in a line; no task of it has failed."""
    disk = Disk(monkeypatch)
    seen: list[str] = []

    def agent(task: AgentTask, path: FilePath) -> str:
        seen.append(task.data_title)
        if len(seen) == 3:
            disk.fails_at = "make"
        return "complete"

    runner = world.agent(agent)
    with pytest.raises(NoRoomError):
        runner(progress="none", task_batch_size=1)
    report = runner.report
    assert report is not None
    assert (report.moved, report.failed, report.unwritten) == (3, 0, ())
    assert report.stopped is not None
    assert "No space left on device" in report.stopped
    assert world.count("Done") == 3


def writes_itself(task: AgentTask) -> str:
    if int(task.data_title.rpartition(" ")[2]) % 3:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/data/features.npy")
    return "complete"


def test_files_of_agents_in_processes(world: World, size: int, tmp_path: Path) -> None:
    """Those of their own: the parent, which sees only the error's text, decides alike."""
    told = Processes(tmp_path).run(world, writes_itself, failure_pathway="triage")
    assert told.counts == {"moved": 4, "failed": 8}
    assert world.count("Triage") == 0


@pytest.mark.parametrize("driver", DRIVERS, ids=str)
def test_an_agents_own_files(world: World, driver: Driver, size: int) -> None:
    """A disk that is full for what the agent writes itself fails the task, which does not go down the pathway."""
    told = driver.run(world, writes_itself, failure_pathway="triage")
    assert told.counts == {"moved": 4, "failed": 8}
    assert world.count("Triage") == 0


@pytest.mark.parametrize("driver", DRIVERS, ids=str)
def test_what_cannot_be_removed(world: World, driver: Driver, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that cannot be removed costs nothing but its room."""

    def refuse(path: Path, missing_ok: bool = False) -> None:
        if PREFIX in str(path):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "unlink", refuse)
    assert driver.run(world, injected).counts == {"moved": TASKS}


@pytest.mark.parametrize("agent", AGENTS)
@pytest.mark.parametrize("driver", DRIVERS, ids=str)
def test_a_directory_that_others_remove(
    world: World,
    driver: Driver,
    agent: Callable[..., str],
    size: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As a cleaner does: it is made again, and the files that were in it are fetched again."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    calls = itertools.count()

    @functools.wraps(agent)
    def cleans(*given: object, **named: object) -> str:
        pathway = agent(*given, **named)
        if next(calls) == 0:  # no more than once: others may have their files open
            for directory in tmp_path.glob(f"{PREFIX}*"):
                shutil.rmtree(directory, ignore_errors=True)
        return pathway

    assert driver.run(world, cleans, num_retries=3).counts == {"moved": TASKS}
    assert list(tmp_path.glob(f"{PREFIX}*")) == []


# Without a directory


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    place = str(tmp_path / "nowhere")
    monkeypatch.setattr(tempfile, "tempdir", place)
    return place


@pytest.mark.parametrize("driver", DRIVERS, ids=str)
def test_no_directory_and_no_need_of_one(world: World, driver: Driver, size: int, nowhere: str) -> None:
    """Agents that ask for no file do not need it."""
    assert driver.run(world, lambda: "complete").counts == {"moved": TASKS}


def test_no_directory(world: World, size: int, nowhere: str) -> None:
    """It is a mistake of the set-up: named before anything begins, in a check too."""
    runner, queued = world.agent(injected), QueueRunner(world.project.project_hash, user_client=world.client)
    served = queued.stage("Pre-label")(injected)
    waiting = list(served.waiting())
    for call in (runner.check, runner, lambda: served(waiting)):
        with pytest.raises(PrintableError, match="TMPDIR") as caught:
            call()
        assert not isinstance(caught.value, NoRoomError)
        assert nowhere in str(caught.value)
    assert world.count("Pre-label") == TASKS


def test_no_directory_for_processes(
    world: World, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No worker process is started for that."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(PrintableError, match="TMPDIR"):
        Processes(tmp_path).run(world, injected)
    assert world.count("Pre-label") == TASKS
    assert capsys.readouterr().err == ""


def test_workers_without_a_directory(
    world: World, size: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An executor's workers may be elsewhere, and are asked; the stage that did not begin is not told as finished."""
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    runner = QueueRunner(world.project.project_hash, user_client=world.client)
    runner.stage("Pre-label")(injected)
    with ThreadPoolExecutor(2) as pool, pytest.raises(PrintableError, match="TMPDIR"):
        runner.drain(executor=pool, progress="plain")
    told = capsys.readouterr().err
    assert "Pre-label: started" in told
    assert "no task" not in told


SCRIPT = """
import sys, tempfile
from pathlib import Path
from typing import Annotated
from encord_agents.tasks import Depends, Runner
from encord_agents.tasks.dependencies import dep_asset

runner = Runner()

@runner.stage("Pre-label")
def agent(path: Annotated[Path, Depends(dep_asset)]) -> str:
    return "complete"

if __name__ == "__main__":
    {before}
    runner.run()
"""


@pytest.mark.parametrize(
    ("before", "options", "code"),
    [
        ("tempfile.tempdir = '/nowhere'", ["--check"], 2),
        ("tempfile.tempdir = '/nowhere'", [], 2),
        ("import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))", [], 1),
    ],
    ids=["check", "run", "larger than allowed"],
)
def test_exit_codes(world: World, size: int, tmp_path: Path, before: str, options: list[str], code: int) -> None:
    """2 for a set-up that has no directory; 1 for a machine without room, which may have some later. No traceback."""
    (tmp_path / "agents.py").write_text(SCRIPT.format(before=before))
    ended = preloaded.run(
        [sys.executable, "agents.py", "--project-hash", world.project.project_hash, "--progress", "none", *options],
        cwd=tmp_path,
        env={**os.environ, **world.platform.environment(), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == code, ended.stderr
    assert "TMPDIR" in ended.stderr or "ulimit -f" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert world.count("Pre-label") == TASKS


def test_worker_processes_share_a_disk(world: World, size: int, tmp_path: Path) -> None:
    """Files of a worker that has none of its own to remove wait for another's."""
    world.project.add_placeholders(28, title="more {index}")
    told = Processes(tmp_path).run(world, on_a_small_disk)
    assert told.counts == {"moved": TASKS + 28}
    assert len(world.requests("asset")) < 2 * (TASKS + 28)


def on_a_small_disk(path: FilePath) -> str:
    return injected(path)
