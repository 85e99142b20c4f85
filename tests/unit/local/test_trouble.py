"""Trouble of the machine is told apart from bugs, and a refusal has the name that the SDK knows."""

from __future__ import annotations

import errno
import sqlite3

import pytest

from encord_agents.local.trouble import NotKnown, Refusal, UnknownRequestError, corrupted, forbidden, machine_trouble


def sqlite_error(code: int) -> sqlite3.Error:
    error = sqlite3.OperationalError("x")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (OSError(errno.ENOSPC, "No space left"), 507),
        (OSError(errno.EDQUOT, "Quota"), 507),
        (OSError(errno.ENOENT, "No such file"), None),
        (sqlite_error(sqlite3.SQLITE_FULL), 507),
        (sqlite_error(sqlite3.SQLITE_BUSY), 503),
        (sqlite_error(sqlite3.SQLITE_IOERR_WRITE), 507),
        (sqlite_error(sqlite3.SQLITE_CORRUPT), 507),
        (sqlite_error(sqlite3.SQLITE_ERROR), None),
        (sqlite3.Error("without a code"), None),
        (ValueError("a bug"), None),
    ],
)
def test_whose_fault_it_is(error: Exception, status: int | None) -> None:
    """A disk, a lock or a damaged database is this machine's; everything else is a bug of the platform."""
    found = machine_trouble(error)
    assert (found and found.status) == status


def test_names_of_refusals() -> None:
    """The SDK makes its exceptions of them."""
    assert forbidden("x").name == "AUTHORISATION_ERROR"
    assert corrupted("x").name == "CORRUPTED_LABEL_ERROR"
    assert Refusal(418, "x").name == "UNKNOWN_ERROR"
    unknown = NotKnown("GET /x.", "Do y.")
    assert (unknown.status, unknown.message) == (501, "The local platform does not know GET /x. Do y.")
    assert "  - GET /x." in str(UnknownRequestError([unknown.what]))
