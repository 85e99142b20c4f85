"""Requests of the label editor in wire format, and the answers to them."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from encord.exceptions import AuthorisationError
from pydantic import BaseModel, ValidationError
from pydantic_core import to_jsonable_python

from encord_agents.core.constants import (
    AGENT_TEST_REQUEST_HEADER,
    EDITOR_TEST_REQUEST_HEADER,
    HEADER_CLOUD_TRACE_CONTEXT,
)
from encord_agents.core.data_model import EditorAgentResponse, FrameData
from encord_agents.core.legible import on_a_line
from encord_agents.core.logs import get_logger
from encord_agents.core.room import no_room
from encord_agents.core.tracebacks import (
    contained,
    described,
    exc_info,
    is_a,
    members,
    message_of,
    shown,
)
from encord_agents.exceptions import EditorRequestError, EncordEditorAgentException
from encord_agents.redaction import without_queries, without_secrets

__all__ = [
    "ALLOWED_HEADERS",
    "MAX_BODY",
    "TEST_HEADERS",
    "Reply",
    "Request",
    "message_in",
    "read_frame",
    "reply_to_error",
    "reply_with",
    "sendable",
    "sentence_about",
    "too_large",
    "trace_id_of",
]

logger = get_logger("encord_agents.editor")

MAX_BODY: Final = 1_000_000
"""Bytes of a request: room for the hashes of 80,000 selected objects."""

TEST_HEADERS: Final = (EDITOR_TEST_REQUEST_HEADER, AGENT_TEST_REQUEST_HEADER)
"""The headers that mark a request as the platform's test of whether the agent can be reached."""

ALLOWED_HEADERS: Final = ("Content-Type", *TEST_HEADERS, HEADER_CLOUD_TRACE_CONTEXT)
"""The headers that the editor may send across origins."""

_UNSENDABLE = re.compile(r"[^\t\x20-\x7e\x80-\xff]")
_TRACE_ID = re.compile(r"[0-9A-Za-z_-]{1,128}")


@dataclass(frozen=True)
class Request:
    """A request, independent of the framework that received it.

    Attributes:
        body: The body: bytes, text, or parsed JSON.
        headers: The headers; their names are looked up without regard to case.
    """

    body: object
    headers: Mapping[str, str] = field(default_factory=dict)

    def header(self, name: str) -> str | None:
        wanted = name.lower()
        return next((value for key, value in self.headers.items() if key.lower() == wanted), None)

    @property
    def is_test(self) -> bool:
        """True if the platform only tests whether the agent can be reached."""
        return any(self.header(name) for name in TEST_HEADERS)

    @property
    def trace_id(self) -> str | None:
        return trace_id_of(self.header(HEADER_CLOUD_TRACE_CONTEXT))


@dataclass(frozen=True)
class Reply:
    """An answer: a status, a JSON body, which may be empty, and headers other than those of CORS."""

    status: int = 200
    body: dict[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The body as it is sent: JSON, which has no NaN and no infinity, so they are ``null``."""
        if self.body is None:
            return ""
        try:
            return json.dumps(self.body, allow_nan=False)
        except ValueError:
            return json.dumps(json.loads(json.dumps(self.body), parse_constant=lambda _: None))


def trace_id_of(header: str | None) -> str | None:
    """Return the trace id of a header such as ``105445aa7843bc8bf206b12000100000/1;o=1``. ``None`` if malformed."""
    trace_id = (header or "").partition("/")[0].partition(";")[0].strip()
    return trace_id if _TRACE_ID.fullmatch(trace_id) else None


def read_frame(body: object, *, is_base64: bool = False) -> FrameData:
    """Read the body of a request.

    Raises:
        EditorRequestError: The body is not one that the editor sends. The message describes the fault.
    """
    if isinstance(body, str | bytes):
        if len(body) > MAX_BODY * (4 / 3 if is_base64 else 1):
            raise too_large()
        if is_base64:
            try:
                body = base64.b64decode(body, validate=True)
            except (binascii.Error, ValueError):
                raise EditorRequestError("The body is declared to be base64, but is not.") from None
        if not body.strip():
            raise EditorRequestError("No request body: an editor agent is called with the JSON of a FrameData.")
        try:
            body = json.loads(body)
        except (ValueError, RecursionError):
            raise EditorRequestError("The request body is not JSON.") from None
    if body is None:
        raise EditorRequestError("No request body: an editor agent is called with the JSON of a FrameData.")
    if not isinstance(body, dict):
        raise EditorRequestError("The request body is not a JSON object with projectHash, dataHash and frame.")
    try:
        return FrameData.model_validate(body)
    except ValidationError as error:
        raise EditorRequestError(sentence_about(error.errors())) from None


def too_large() -> EditorRequestError:
    return EditorRequestError(f"The request body has more than {MAX_BODY:,} bytes.", status=413)


def sentence_about(errors: Any) -> str:
    """Return a sentence about the faults of a request, given pydantic's errors."""
    told = []
    for one in errors[:5]:
        place = ".".join(str(part) for part in one["loc"] if part != "body")
        problem = str(one["msg"]).removeprefix("Value error, ").rstrip(".")
        if one["type"] == "model_attributes_type":
            problem = "It is not a JSON object, or was sent without Content-Type: application/json"
        told.append(f"{place}: {problem}" if place else problem)
    text = "; ".join(dict.fromkeys(told))[:1000]  # once, however many dependencies read the body
    return f"The request is not a FrameData: {text}" + ("" if text.endswith("?") else ".")


def reply_with(value: object) -> Reply:
    """Return the answer for an agent's return value: an `EditorAgentResponse` is sent, anything else is not."""
    if is_a(value, EditorAgentResponse):
        response: Any = value
        # Created again and so validated: anything may have been assigned to it since it was created.
        checked = EditorAgentResponse(message=response.message, decision=response.decision).model_dump()
        own = set(EditorAgentResponse.model_fields)
        # A subclass has fields of its own, which callers other than the editor may read.
        further = response.model_dump(mode="json", exclude=own)
        return Reply(200, {**checked, **further})
    if isinstance(value, BaseModel):
        logger.warning("The agent returned a %s, and only an EditorAgentResponse is sent.", type(value).__name__)
    return Reply(200)


def reply_to_error(error: BaseException, *, name: str = "the agent") -> Reply:
    """Return the answer for an exception. An unexpected one is logged, with its traceback."""
    told = [*members(error)]
    if told and all(is_a(one, EncordEditorAgentException) for one in told):  # also in an exception group
        return Reply(400, _body_of(told[0]))
    if is_a(error, EditorRequestError):
        headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
        return Reply(error.status, {"message": str(error)}, headers)
    if is_a(error, AuthorisationError):
        return Reply(403, {"message": without_secrets(str(error.message))})
    if (reply := _reply_of_framework(error)) is not None:
        return reply
    said = without_queries(described(error))
    logger.error("%s failed: %s", name, on_a_line(said), exc_info=exc_info(error))
    if (lack := no_room(error)) is not None:
        return Reply(503, {"message": str(lack).partition("\n")[0]})  # the other lines are about runs
    return Reply(500, {"message": f"Internal server error: {said[:1000]}"})


def sendable(headers: object) -> dict[str, str]:
    """Return the valid ones of an agent's headers: those without line breaks, which would start other headers."""
    given = {str(name): str(value) for name, value in headers.items()} if isinstance(headers, Mapping) else {}
    return {name: value for name, value in given.items() if not _UNSENDABLE.search(name + value)}


def message_in(detail: object, status: int) -> str:
    """Return the message in the detail of an ``HTTPException``: text, an object with a message, or any other JSON."""
    told = detail.get("message") if isinstance(detail, Mapping) else None
    told = told if isinstance(told, str) else detail
    return (told if isinstance(told, str) else _as_json(told)) or f"Status {status}."


def _as_json(value: object) -> str:
    if value is None:
        return ""
    with contained:
        return json.dumps(to_jsonable_python(value, fallback=shown, inf_nan_mode="null"))
    return shown(value)


def _body_of(error: Any) -> dict[str, Any]:
    """Return the body that an agent's own exception asks for: JSON with a message, even if a subclass gives none."""
    with contained:
        body: Any = to_jsonable_python(error.json_response_body, fallback=shown)
        json.dumps(body)
        if isinstance(body, dict):
            return body if isinstance(body.get("message"), str) else {**body, "message": message_of(error)}
    return {"message": message_of(error)}


def _reply_of_framework(error: BaseException) -> Reply | None:
    """Return the answer that an agent asks for by an ``HTTPException`` of Starlette (FastAPI) or Werkzeug (Flask)."""
    if not {"starlette", "werkzeug"} & {kind.__module__.partition(".")[0] for kind in type(error).__mro__}:
        return None
    with contained:  # Flask's abort(response)
        response: Any = getattr(error, "response", None)
        if response is not None:
            return Reply(int(response.status_code), {"message": response.get_data(as_text=True)[:1000]})
    status = getattr(error, "status_code", None) or getattr(error, "code", None)
    if not isinstance(status, int) or not 200 <= status <= 599:
        return None
    told = getattr(error, "detail", None) or getattr(error, "description", None)
    headers = getattr(error, "headers", None)
    body = None if status in (204, 205, 304) else {"message": message_in(told, status)}
    return Reply(status, body, sendable(headers))
