"""Downloading a task's file before its agent asks for it."""

from __future__ import annotations

import contextlib
import logging
from contextlib import AbstractContextManager

from encord_agents.exceptions import (
    CertificateError,
    NoRoomError,
    OutageError,
)
from encord_agents.tasks.engine.context import Context
from encord_agents.tasks.engine.gate import SetUpError
from encord_agents.tasks.engine.outcome import Fault, Phase
from encord_agents.tasks.engine.verdict import is_lost_file

__all__ = ["fetch"]

logger = logging.getLogger(__name__)


def fetch(context: Context, *, first_frame: bool, decoding: AbstractContextManager[object] | None = None) -> bool:
    """Download a task's file ahead and, where the agent wants its first frame, decode that too.

    Args:
        decoding: Entered to decode.

    Returns:
        False if this machine has no room for it now. It is no fault: the attempt downloads it.

    Raises:
        OutageError: The storage host does not answer any more.
        SetUpError: Its certificate is not trusted here.
        Leaving: There is no time for that.
    """
    assert context.asset is not None
    try:
        context.asset.fetch()
    except OutageError:
        raise
    except NoRoomError:
        return False
    except CertificateError as error:
        raise SetUpError(error) from error
    except Exception as error:  # noqa: BLE001 - the first attempt's fault, whatever it is
        context.trouble = Fault(Phase.LOAD, error, 1, platform=is_lost_file(error))
        return True
    if not first_frame:
        return True
    try:
        with decoding or contextlib.nullcontext():
            context.asset.prepare(first_frame=True)
    except Exception:  # noqa: BLE001 - the dependency will raise it where it belongs: in the attempt
        logger.debug("The first frame of %s could not be decoded ahead.", context.task.data_title)
    return True
