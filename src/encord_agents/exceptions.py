"""The exceptions of this library, most of which are raised before a task runs.

::

    EncordAgentsError
    |-- TasksFailedError                     tasks failed, and the caller asked for an exception
    |-- EncordEditorAgentException           an editor agent's own message to the person in the label editor
    `-- PrintableError (also a ValueError)   a message for a person: what, where, what to do next
        |-- CredentialsError                 no key, or one that cannot be used
        |-- ProjectError                     no project, or one that agents cannot serve
        |-- UnknownStageError                no agent stage of that name or uuid
        |-- StageAlreadyAssignedError        two functions for one stage
        |-- DependencyError                  a parameter that nothing can supply
        |-- MissingExtraError                something needs an extra that is not installed (also an ImportError)
        |-- EditorRequestError               a request to an editor agent that cannot be served
        |-- UnknownPathwayError              an agent named a pathway its stage does not have
        |-- UnsupportedAssetError            a file that is not what was asked for (also a NotImplementedError)
        |-- AssetDownloadError               a file that could not be fetched
        |-- CertificateError                 a server whose certificate is not trusted here
        |-- NoRoomError                      a file that this machine has no room for: disk, quota, handles
        `-- OutageError                      the platform did not answer for longer than the run may wait

``str(error)`` is plain text; the terminal output adds colour. Every class keeps its facts as attributes, so that
a program need not parse the message.
"""

from __future__ import annotations

import difflib
import errno
import os
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from encord_agents.redaction import without_secrets

__all__ = [
    "AssetDownloadError",
    "CertificateError",
    "CredentialsError",
    "DependencyError",
    "EditorRequestError",
    "EncordAgentsError",
    "EncordEditorAgentException",
    "MissingExtraError",
    "NoRoomError",
    "OutageError",
    "PrintableError",
    "ProjectError",
    "StageAlreadyAssignedError",
    "TasksFailedError",
    "UnknownPathwayError",
    "UnknownStageError",
    "UnsupportedAssetError",
]

HERE = os.path.dirname(__file__) + os.sep
LONGEST_ANSWER = 300
"""Characters of a server's answer that the message of an outage quotes."""


class EncordAgentsError(Exception):
    """The root of all exceptions that this library defines."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors are pickled between processes, in pools and queues, and by default rebuilt from their message alone.
        return _restore, (type(self), self.args, self.__dict__)


def _restore(kind: type[EncordAgentsError], args: tuple[Any, ...], attributes: dict[str, Any]) -> EncordAgentsError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(attributes)
    return error


class TasksFailedError(EncordAgentsError):
    """Tasks failed, and the caller asked for an exception.

    Attributes:
        report: The run's `RunReport`, or a queue function's `TaskCompletionResult`. In both, ``report.failures`` lists
            the failed tasks, each with its error and traceback.
    """

    def __init__(self, failed: int, tasks: int, details: Sequence[str], report: object) -> None:
        self.report = report
        lines = [f"{failed} of {tasks} tasks failed:", *(f"  - {detail}" for detail in details[:10])]
        if failed > 10:
            lines.append(f"  ... and {failed - 10} more: the `report.failures` of this exception has them all")
        super().__init__("\n".join(lines))


class PrintableError(EncordAgentsError, ValueError):
    """A message for a person: what happened, where, and what to do next.

    Anything in it that may be a key or a password is hidden, since messages quote text that may be in the wrong place.
    """

    def __init__(self, *args: object) -> None:
        super().__init__(*(without_secrets(arg) if isinstance(arg, str) else arg for arg in args))

    def _render_traceback_(self) -> list[str]:
        """Return the lines that notebooks show for it: the lines of the caller's own code, the message, the notes.

        The rest of the traceback would show where in this library the message was made.
        """
        lines = []
        for frame in traceback.extract_tb(self.__traceback__):
            if frame.filename.startswith(HERE):
                break
            if f"{os.sep}IPython{os.sep}" not in frame.filename:
                lines.append(f"line {frame.lineno}, in {frame.name}: {frame.line}")
        return [*lines, f"\x1b[31m{type(self).__name__}\x1b[0m: {self}", *getattr(self, "__notes__", ())]


class CredentialsError(PrintableError):
    """There is no key, or it cannot be used. The key itself is never part of the message."""


class ProjectError(PrintableError):
    """There is no project, or agents cannot serve it.

    Attributes:
        given: The project hash as it was passed, or ``None`` if there was none.
    """

    def __init__(self, message: str, *, given: object = None) -> None:
        self.given = given
        super().__init__(message)


@dataclass(frozen=True)
class Named:
    """A stage or a pathway as an error lists it."""

    title: str
    uuid: str

    def __str__(self) -> str:
        return f"{self.title!r} ({self.uuid})"


class UnknownStageError(PrintableError):
    """No agent stage of the project has that title or uuid.

    Attributes:
        given: The title or uuid that was asked for.
        valid: The project's agent stages.
    """

    def __init__(self, given: object, valid: Sequence[Named], *, reason: str | None = None) -> None:
        self.given = given
        self.valid = tuple(valid)
        lines = [reason or f"The project has no agent stage {str(given)!r}."]
        if reason is None and (guess := closest(str(given), (v.title for v in valid))):
            lines.append(f"Did you mean {guess!r}?")
        lines.append(listing("Its agent stages", valid))
        super().__init__("\n".join(lines))


class StageAlreadyAssignedError(PrintableError):
    """A stage has an agent already.

    Attributes:
        stage: The stage's title.
        function: The name of the function that serves it.
    """

    def __init__(self, stage: str, function: str) -> None:
        self.stage = stage
        self.function = function
        super().__init__(
            f"Stage {stage!r} is served by {function}() already, and a stage has one agent.\n"
            "To replace it, write @runner.stage(..., overwrite=True)."
        )


class DependencyError(PrintableError):
    """A parameter asks for something that nothing can supply.

    Attributes:
        function: The name of the function that has the parameter.
        parameter: The parameter's name, or ``None`` if the function itself is at fault.
    """

    def __init__(self, message: str, *, function: str = "", parameter: str | None = None) -> None:
        self.function = function
        self.parameter = parameter
        super().__init__(message)


class MissingExtraError(PrintableError, ImportError):
    """A feature needs packages of one of this library's extras that are not installed.

    Attributes:
        extra: The extra.
        missing: The names under which the missing packages are installed.
    """

    def __init__(self, extra: str, what: str, missing: Sequence[str]) -> None:
        self.extra = extra
        self.missing = tuple(missing)
        super().__init__(
            f"{what} needs the {extra!r} extra, of which {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} "
            f"not installed here.\nInstall it: pip install 'encord-agents[{extra}]'"
        )


class EncordEditorAgentException(EncordAgentsError):  # noqa: N818 - the name that existing code uses
    """An editor agent's own message to the person in the label editor. It is answered with status 400.

    Attributes:
        message: The message.
    """

    def __init__(self, message: str) -> None:
        self.message = message
        super().__init__(message)

    @property
    def json_response_body(self) -> dict[str, str]:
        """The body of the answer."""
        return {"message": self.message}


class EditorRequestError(PrintableError):
    """A request to an editor agent that cannot be served.

    Attributes:
        status: The HTTP status to answer it with.
        retry_after: The seconds after which it may be sent again, if that may help.
    """

    def __init__(self, message: str, status: int = 400, *, retry_after: int | None = None) -> None:
        self.status = status
        self.retry_after = retry_after
        super().__init__(message)


class UnknownPathwayError(PrintableError):
    """An agent named a pathway that its stage does not have.

    Attributes:
        given: The agent's return value.
        stage: The stage's title.
        valid: The pathways the stage has.
    """

    def __init__(self, given: object, stage: str, valid: Sequence[Named], *, suggestion: str | None = None) -> None:
        self.given = given
        self.stage = stage
        self.valid = tuple(valid)
        lines = [f"Stage {stage!r} has no pathway {str(given)!r}."]
        if guess := suggestion or closest(str(given), (v.title for v in valid)):
            lines.append(f"Did you mean {guess!r}?")
        lines.append(listing("Its pathways", valid))
        super().__init__("\n".join(lines))


class UnsupportedAssetError(PrintableError, NotImplementedError):
    """A storage item has no file of its own, or its file is not what was asked for.

    Attributes:
        item: The storage item's name.
        mime_type: Its MIME type, if the platform knows it.
    """

    def __init__(self, message: str, *, item: str = "", mime_type: str | None = None) -> None:
        self.item = item
        self.mime_type = mime_type
        super().__init__(message)


class AssetDownloadError(PrintableError):
    """A storage item's file could not be fetched.

    Attributes:
        item: The storage item's name.
        item_uuid: Its uuid.
        status: The status of the storage host's last answer, or ``None`` if there was none.
    """

    def __init__(self, item: str, item_uuid: str, reason: str, *, status: int | None = None) -> None:
        self.item = item
        self.item_uuid = item_uuid
        self.status = status
        super().__init__(f"The file of {item!r} (storage item {item_uuid}) could not be downloaded: {reason}.")


class CertificateError(PrintableError):
    """The certificate of the platform, or of a host of its files, is not trusted on this machine, or none is, since
    those to trust cannot be read.

    It is not an outage: waiting does not help. The message names the environment variable that does.
    """


class NoRoomError(PrintableError):
    """This machine cannot keep a file: no room on its disk, no more handles, a directory that is read-only or gone.

    It concerns all tasks, so no task fails with it: a run waits as long as files of its own can still be removed, and
    otherwise ends.

    Attributes:
        errno: The system's error number, as in the module `errno`.
        directory: The directory meant for the file, or ``None``.
        may_pass: True if it may pass once other files are removed or closed.
        about_size: True if a smaller file might have fitted.
    """

    def __init__(self, what: str, error: OSError, *, directory: object = None, may_pass: bool = True) -> None:
        self.errno = error.errno
        self.directory = None if directory is None else str(directory)
        self.may_pass = may_pass
        self.about_size = error.errno in _ABOUT_SIZE
        place = "" if directory is None else f", in {self.directory}"
        super().__init__(
            f"{what}: {error.strerror or error}{place}.\n"
            "The problem is this machine's, and no task's. Finished tasks are written; the others are still in "
            f"their stages.\n{_REMEDIES.get(error.errno or 0, _MAKE_ROOM)}"
        )


_MAKE_ROOM = (
    "Make room there, or set the environment variable TMPDIR to another directory that can be written to. "
    "Then run again."
)
_FEWER_HANDLES = "Allow the process more open files (ulimit -n), or have it do less at once. Then run again."
_ABOUT_SIZE = frozenset({errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)})
_REMEDIES = {
    errno.EMFILE: _FEWER_HANDLES,
    errno.ENFILE: _FEWER_HANDLES,
    errno.ENOMEM: "Keep less in memory at once (task_batch_size, max_workers, workers). Then run again.",
    errno.EFBIG: "Allow the process larger files (ulimit -f). Then run again.",
}


class OutageError(PrintableError):
    """The platform did not answer for longer than the run may wait.

    Attributes:
        seconds: The seconds waited for it.
        asked: The seconds the platform asked to wait, if the run ended because that is too long.
    """

    def __init__(self, seconds: float, last: BaseException, *, asked: float | None = None) -> None:
        self.seconds = seconds
        self.asked = asked
        super().__init__(
            f"The platform {self._what(last)}.\n"
            "Finished tasks that were not yet written are listed in the report; they are still in their stages.\n"
            "Run again when the platform is back, or wait longer with max_outage=... (--max-outage)."
        )

    def _what(self, last: BaseException) -> str:
        said = " ".join(str(last).split())
        said = said if len(said) <= LONGEST_ANSWER else f"{said[:LONGEST_ANSWER]}..."
        what = f"has not answered for {self.seconds:.0f} s"
        if self.asked is not None:
            what = f"asks to wait {self.asked:.0f} s, longer than max_outage allows"
        return f"{what} (last: {type(last).__name__}: {said})"

    @classmethod
    def before_the_run(cls, seconds: float, last: BaseException, address: str, asked: float | None) -> OutageError:
        """Return the error for a platform that never answered at that address, so that the run could not begin."""
        error = cls(seconds, last, asked=asked)
        error.args = (
            without_secrets(
                f"The platform at {address} {error._what(last)}, so the project could not be opened.\n"
                "Run again when the platform is back, check ENCORD_DOMAIN, or wait longer with max_outage=... "
                "(--max-outage)."
            ),
        )
        return error


def closest(given: str, names: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """Return the name most similar to a mistyped one, or ``None`` if none is at least `cutoff` similar (0 to 1)."""
    by_lower = {name.casefold(): name for name in names}
    matches = difflib.get_close_matches(given.casefold(), by_lower, n=1, cutoff=cutoff)
    return by_lower[matches[0]] if matches else None


def listing(heading: str, entries: Sequence[Named]) -> str:
    if not entries:
        return f"{heading}: none."
    return "\n".join([f"{heading}:", *(f"  - {entry}" for entry in entries)])
