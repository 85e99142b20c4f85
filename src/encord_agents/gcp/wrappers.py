"""Editor agents as Google Cloud Functions: Flask's request in, Flask's response out."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import flask

# Some of these are names that existing code imports from here.
from encord_agents.core.client import get_user_client as get_user_client
from encord_agents.core.constants import EDITOR_TEST_REQUEST_HEADER as EDITOR_TEST_REQUEST_HEADER
from encord_agents.core.constants import ENCORD_DOMAIN_REGEX as ENCORD_DOMAIN_REGEX
from encord_agents.core.constants import HEADER_CLOUD_TRACE_CONTEXT as HEADER_CLOUD_TRACE_CONTEXT
from encord_agents.core.data_model import EditorAgentResponse as EditorAgentResponse
from encord_agents.core.data_model import FrameData as FrameData
from encord_agents.core.data_model import LabelRowInitialiseLabelsArgs, LabelRowMetadataIncludeArgs
from encord_agents.core.dependencies.wrappers import signature_of
from encord_agents.editor.agent import EditorAgent
from encord_agents.editor.origins import Origins, is_own
from encord_agents.editor.wire import MAX_BODY, Reply, Request, reply_to_error, too_large
from encord_agents.exceptions import EncordEditorAgentException as EncordEditorAgentException

__all__ = ["editor_agent"]


def editor_agent(
    *,
    label_row_metadata_include_args: LabelRowMetadataIncludeArgs | None = None,
    label_row_initialise_labels_args: LabelRowInitialiseLabelsArgs | None = None,
    custom_cors_regex: str | None = None,
) -> Callable[[Callable[..., Any]], Callable[[flask.Request], flask.Response]]:
    """Make a Cloud Function of an editor agent.

    Args:
        label_row_metadata_include_args: Options for listing the label row.
        label_row_initialise_labels_args: Options for loading its labels.
        custom_cors_regex: The origins from which the editor calls. Default: the platform's own.

    Raises:
        DependencyError: On decoration, for a parameter that nothing can supply.
    """
    origins = Origins(custom_cors_regex)

    def decorate(function: Callable[..., Any]) -> Callable[[flask.Request], flask.Response]:
        agent = EditorAgent(
            function,
            label_row_metadata_include_args=label_row_metadata_include_args,
            label_row_initialise_labels_args=label_row_initialise_labels_args,
        )

        @functools.wraps(function)
        def serve(request: flask.Request) -> flask.Response:
            origin = request.headers.get("Origin")
            if request.method == "OPTIONS":
                if origin is None or not origins.allow(origin):
                    return _response(Reply(403), {"Vary": "Origin"})
                return _response(Reply(204), origins.headers_of_preflight(origin))
            if origin is not None and not is_own(origin, request.host) and not origins.allow(origin):
                return _response(Reply(403, {"message": "Pages of this origin may not call editor agents."}), {})
            headers = {} if origin is None else origins.headers(origin)
            return _response(_answer(agent, request), headers)

        # `__wrapped__` is the agent, for tests; this function has a signature of its own.
        vars(serve)["__signature__"] = signature_of(serve, follow_wrapped=False)
        return serve

    return decorate


def _answer(agent: EditorAgent, request: flask.Request) -> Reply:
    if request.method != "POST":
        return Reply(405, {"message": "An editor agent is called with POST."})
    if (request.content_length or 0) > MAX_BODY:
        return reply_to_error(too_large())
    # Without a Content-Length, one byte more than allowed is read, so that the agent rejects the body.
    body = request.get_data() if request.content_length is not None else request.stream.read(MAX_BODY + 1)
    return agent.answer(Request(body, dict(request.headers.items())))


def _response(reply: Reply, headers: dict[str, str]) -> flask.Response:
    headers = {**headers, **reply.headers}
    if reply.body is not None:
        headers = {**headers, "Content-Type": "application/json"}
    return flask.Response(reply.text, status=reply.status, headers=headers)
