"""Details of errors that the SDK keeps only in a message, or in a chained exception.

Read from encord 0.1.180 and 0.1.211. The older protocol names its errors; `check_error_response` has classes for some,
and keeps the names of the others in the message of a `GenericServerError`. If a response is not the API's, both
protocols chain the exception of the JSON decoder, pydantic or `requests`. `handle_error_response` of the newer protocol
raises one class for every HTTP status that has none of its own, and keeps the status nowhere.
"""

from __future__ import annotations

import http.client
import re
import traceback
from collections.abc import Iterator

import requests.exceptions
from encord.exceptions import EncordException, GenericServerError

from encord_agents.core.answers import reasons
from encord_agents.core.legible import literally
from encord_agents.core.sdk.seam import Seam
from encord_agents.core.tracebacks import traceback_of

__all__ = ["MESSAGES", "NOTHING", "foreign_answer", "names_a_refusal", "status_of"]

NAMED_ERROR = re.compile(r"error of type `\['(\w+)'\]`")
NOTHING = "nothing"
"""The description of an empty response, which may be the API's own."""
SERVER_TROUBLE = re.compile(r"SERVER|INTERNAL|UNAVAILABLE|TIMEOUT|GATEWAY|OVERLOAD")


def _differences() -> Iterator[str]:
    from encord.http.error_utils import check_error_response
    from encord.http.v2.error_utils import handle_error_response

    try:
        check_error_response(["SOME_ERROR"])
    except GenericServerError as error:
        if (named := NAMED_ERROR.search(error.message)) is None or named[1] != "SOME_ERROR":
            yield "the message of a GenericServerError does not name the error as it did"
    else:
        yield "check_error_response() raises no GenericServerError for an error it does not know"
    if "status_code" not in handle_error_response.__code__.co_varnames:
        yield "handle_error_response() has no status_code"


MESSAGES = Seam(
    does="tells a refusal from trouble of the server: by the older protocol's names, by the newer one's status",
    read_from=("0.1.180", "0.1.211"),
    reads=(
        "encord.http.error_utils.check_error_response",
        "encord.exceptions.GenericServerError",
        "encord.http.v2.error_utils.handle_error_response",
    ),
    differences=_differences,
    otherwise="every error of the platform that has no class of its own counts as an outage",
)


def names_a_refusal(error: GenericServerError) -> bool:
    """Return True if an error has a name that is not about the server: the platform refused the request.

    An error without a name comes from something in front of the platform.
    """
    named = NAMED_ERROR.search(error.message) if MESSAGES.holds else None
    return named is not None and not SERVER_TROUBLE.search(named[1])


def status_of(error: EncordException) -> int | None:
    """Return the HTTP status for which the newer protocol raised an exception, or ``None`` if it is not known."""
    for frame, _ in traceback.walk_tb(traceback_of(error)):
        if frame.f_code.co_name == "handle_error_response" and MESSAGES.holds:
            status: int = frame.f_locals["status_code"]
            return status
    return None


def foreign_answer(error: EncordException) -> str | None:
    """Describe a response that is not the API's JSON; return ``None`` if there is no sign of one."""
    for found in filter(_is_of_the_sdk, (error.__cause__, error.__context__)):
        body = getattr(found, "doc", None)
        if isinstance(found, ValueError) and isinstance(body, str):
            return _in_words(body)
        if type(found).__name__ == "ValidationError" and hasattr(found, "errors"):
            return "JSON that is not the API's"
        if isinstance(found, AttributeError):  # the SDK looked for a message in JSON that is not an object
            return "JSON that is not the API's"
        if isinstance(found, RecursionError):  # from JSON that is nested too deeply
            return "JSON that is not the API's"
        if isinstance(found, requests.exceptions.TooManyRedirects):
            return "redirects without end"
        if isinstance(found, requests.exceptions.ContentDecodingError):
            return "what is not encoded as it says"
    for reason in reasons(error):
        if isinstance(reason, http.client.BadStatusLine) and not isinstance(reason, http.client.RemoteDisconnected):
            return "something that is not HTTP"
    return None


def _is_of_the_sdk(found: BaseException | None) -> bool:
    """Return False for an exception that a caller of the SDK was handling meanwhile."""
    traceback = traceback_of(found) if found is not None else None
    return traceback is None or traceback.tb_frame.f_globals.get("__name__", "").startswith("encord.")


def _in_words(body: str) -> str:
    start = body.lstrip()[:1000].lower()
    if not start:
        return NOTHING
    if start.startswith(("<!doctype html", "<html")) or "<html" in start:
        return "an HTML page"
    first_line = literally(body.strip().splitlines()[0])
    return f"text that is not JSON ({first_line[:60]}{'...' if len(first_line) > 60 else ''})"
