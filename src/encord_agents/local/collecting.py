"""Collects files of every kind from directories: makes items and groups of them, and skips unusable files."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import TypeAdapter

from encord_agents.local import datasets, images, items, media, sequences
from encord_agents.local.assets import AssetStore
from encord_agents.local.catalogue import ProjectRecord
from encord_agents.local.database import Database
from encord_agents.local.items import NewUnit
from encord_agents.local.trouble import LocalPlatformError, machine_trouble
from encord_agents.local.written import checked

logger = logging.getLogger(__name__)


class Wanted(NamedTuple):
    """The kind of files that are collected.

    Attributes:
        name: The word for one of them in messages.
        read: Reads a file's facts, and raises for a file that is skipped.
        unknown: The reason that it gives for files of other kinds.
    """

    name: str
    read: Callable[[Path, str], NewUnit]
    unknown: str


FILES = Wanted("file", lambda path, title: media.read_file(path, title), media.UNKNOWN)
PICTURES = Wanted("picture", images.read_file, images.NO_PICTURE)
Groups = Literal["group", "sequence"]
_GROUPS = TypeAdapter(Groups | None)


@dataclass(frozen=True)
class Collected:
    """The files that were found.

    Attributes:
        units: Files that become items of their own.
        groups: Directories whose pictures become one item: that item, and the pictures in order.
        skipped: Skipped files, and folders that cannot be read, each with its reason.
    """

    units: list[NewUnit]
    groups: list[tuple[NewUnit, list[NewUnit]]]
    skipped: list[str]


def collect(
    paths: str | Path | Iterable[str | Path],
    assets: AssetStore,
    *,
    wanted: Wanted = FILES,
    groups: Groups | None = None,
    some: bool = False,
    progress: Callable[[int], None] = lambda done: None,
) -> Collected:
    """Read files, or all files below a directory, and store them. Skipped files are also logged as warnings.

    Args:
        some: Raise an error if no file is usable.
        groups: Make one item of the pictures of each directory.
        progress: Called with the number of files read so far.

    Raises:
        LocalPlatformError: The single path does not exist, there is no room for the files, pictures cannot become a
            sequence, or ``some`` is set and no file is usable.
    """
    checked(_GROUPS, groups, "groups")
    units: list[NewUnit] = []
    grouped: dict[str, list[NewUnit]] = {}
    skipped: list[str] = []

    def skip(path: str | Path, error: OSError | ValueError) -> None:
        if (trouble := machine_trouble(error)) is not None:  # the machine's trouble, not the file's
            raise LocalPlatformError(trouble.message) from error
        skipped.append(_left_out(path, error))

    for done, (path, title) in enumerate(_files(paths, lambda error: skip(error.filename, error))):
        progress(done)
        try:
            unit = replace(wanted.read(path, title), digest=assets.put_file(path))
        except (OSError, ValueError) as error:
            skip(path, error)
            continue
        except Exception as error:  # noqa: BLE001 -- a decoder's own trouble with one file is no reason to take none
            skipped.append(f"{images.readable(path)}: it cannot be read ({type(error).__name__})")
            continue
        if groups is not None and unit.item_type == "image":
            grouped.setdefault(images.readable(path.parent), []).append(unit)
        else:
            units.append(unit)
    for line in images.told(skipped, wanted.unknown):
        logger.warning("%s", line)
    if some and not units and not grouped:
        raise none_usable(images.readable(paths) if isinstance(paths, (str, Path)) else "the list", skipped, wanted)
    made = [(_group(assets, groups, directory, members), members) for directory, members in grouped.items()]
    return Collected(units, made, skipped)


def _group(assets: AssetStore, groups: Groups | None, directory: str, members: Sequence[NewUnit]) -> NewUnit:
    try:
        kind = "imageSequence" if groups == "sequence" else "imageGroup"
        return sequences.group(assets, kind, _title(directory, members), members)
    except (OSError, ValueError) as error:
        trouble = machine_trouble(error)
        why = trouble.message if trouble else f"The pictures of {directory} cannot become a sequence: {error}."
        raise LocalPlatformError(why) from error


def _title(directory: str, members: Sequence[NewUnit]) -> str:
    """Return the title of a group: its pictures' directory, relative to the directory that was searched."""
    above = members[0].title.rpartition("/")[0]
    return above or Path(directory).name or "Group"


def _left_out(path: str | Path, error: OSError | ValueError) -> str:
    return f"{images.readable(path)}: {images.reason(error)}"


def _files(
    paths: str | Path | Iterable[str | Path], unreadable: Callable[[OSError], object]
) -> Iterator[tuple[Path, str]]:
    if not isinstance(paths, (str, Path)):
        yield from ((Path(path), images.readable(Path(path).name)) for path in paths)
        return
    given = Path(paths)
    if not given.exists():
        raise LocalPlatformError(f"{images.readable(given)} does not exist.")
    root = given if given.is_dir() else given.parent
    for path in images.found_in(given, unreadable) if given.is_dir() else [given]:
        yield path, images.readable(path.relative_to(root))


def add(database: Database, project: ProjectRecord, found: Collected) -> list[str]:
    """Add the collected files to a project's own dataset. Return the data hashes: of files first, then of groups."""
    with database.write() as connection:
        if not found.units and not found.groups:
            return []
        hashes = items.add(database, project, found.units)
        dataset, folder = items.home(connection, project)
        for group, members in found.groups:
            uuids = items.uuids_of(connection, items.insert(connection, folder, members))
            hashes += datasets.link(connection, dataset, [items.insert_group(connection, folder, group, uuids)])
    return hashes


def none_usable(where: str, skipped: Sequence[str], wanted: Wanted = FILES) -> LocalPlatformError:
    """Return the error of a project for which no file is usable."""
    if not skipped:
        return LocalPlatformError(f"There is no {wanted.name} in {where}, so no project was made.")
    lines = "".join(f"\n  - {line.removeprefix('left out: ')}" for line in images.told(skipped, wanted.unknown))
    return LocalPlatformError(f"No {wanted.name} in {where} could be used, so no project was made:{lines}")


def one_usable(directory: Path) -> None:
    """Check, before a data directory is made, that a directory has a usable file: a project needs at least one.

    Raises:
        LocalPlatformError: No file is usable.
    """
    broken: list[str] = []
    for path in images.found_in(directory, lambda error: broken.append(_left_out(error.filename, error))):
        try:
            media.read_file(path, path.name)
        except (OSError, ValueError) as error:
            broken.append(_left_out(path, error))
        except Exception as error:  # noqa: BLE001 -- as in `collect`
            broken.append(f"{images.readable(path)}: it cannot be read ({type(error).__name__})")
        else:
            return
    raise none_usable(images.readable(directory), broken)


def counted(units: Sequence[str]) -> str:
    """Return the number of items of each type, in words."""
    words = {
        "image": "image", "video": "video", "audio": "audio file", "plainText": "text", "pdf": "PDF",
        "imageGroup": "image group", "imageSequence": "image sequence", "dicomFile": "DICOM file",
        "nifti": "NIfTI volume",
    }  # fmt: skip
    found = {kind: units.count(kind) for kind in dict.fromkeys(units)}
    parts = [f"{number} {words.get(kind, kind)}{'' if number == 1 else 's'}" for kind, number in found.items()]
    return ", ".join(parts)
