"""Editor agents on AWS Lambda: an event of a function URL, API Gateway or a load balancer in, a response out."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, Final

# Some of these are names that existing code imports from here.
from encord_agents.core.client import get_user_client as get_user_client
from encord_agents.core.constants import EDITOR_TEST_REQUEST_HEADER as EDITOR_TEST_REQUEST_HEADER
from encord_agents.core.constants import HEADER_CLOUD_TRACE_CONTEXT as HEADER_CLOUD_TRACE_CONTEXT
from encord_agents.core.data_model import EditorAgentResponse as EditorAgentResponse
from encord_agents.core.data_model import FrameData as FrameData
from encord_agents.core.data_model import LabelRowInitialiseLabelsArgs, LabelRowMetadataIncludeArgs
from encord_agents.core.dependencies.wrappers import signature_of
from encord_agents.editor.agent import EditorAgent
from encord_agents.editor.origins import Origins, is_own
from encord_agents.editor.wire import Reply, Request
from encord_agents.exceptions import EncordEditorAgentException as EncordEditorAgentException

__all__ = ["editor_agent"]

MARGIN: Final = 1.0
"""Seconds before the function's time limit at which it answers 504 if its agent has not ended.

Of less than twice as many seconds, the agent has half.
"""


def editor_agent(
    *,
    label_row_metadata_include_args: LabelRowMetadataIncludeArgs | None = None,
    label_row_initialise_labels_args: LabelRowInitialiseLabelsArgs | None = None,
    custom_cors_regex: str | None = None,
) -> Callable[[Callable[..., Any]], Callable[[dict[str, Any], Any], dict[str, Any]]]:
    """Make a Lambda function of an editor agent.

    It takes events of both payload versions, with bodies in base64 or not, and a bare `FrameData` as the event. If the
    agent takes longer than the function's time limit, the answer is 504, shortly before. For that, the agent runs in a
    thread of its own.

    Args:
        label_row_metadata_include_args: Options for listing the label row.
        label_row_initialise_labels_args: Options for loading its labels.
        custom_cors_regex: The origins from which the editor calls, for REST APIs and load balancers, which leave CORS
            to the function; function URLs and HTTP APIs have settings for it. Default: the platform's own.

    Raises:
        DependencyError: On decoration, for a parameter that nothing can supply.
    """
    origins = Origins(custom_cors_regex)

    def decorate(function: Callable[..., Any]) -> Callable[[dict[str, Any], Any], dict[str, Any]]:
        agent = EditorAgent(
            function,
            label_row_metadata_include_args=label_row_metadata_include_args,
            label_row_initialise_labels_args=label_row_initialise_labels_args,
        )

        @functools.wraps(function)
        def serve(event: dict[str, Any], context: Any) -> dict[str, Any]:
            request = Request(_body(event), _headers(event))
            origin = request.header("Origin")
            is_rest = "httpMethod" in event
            method = _method(event)
            if origin is not None and not is_own(origin, request.header("Host")) and not origins.allow(origin):
                return _response(Reply(403, {"message": "Pages of this origin may not call editor agents."}), {}, event)
            if method == "OPTIONS":
                return _response(Reply(204), origins.headers_of_preflight(origin) if origin else {}, event)
            if method != "POST":
                return _response(Reply(405, {"message": "An editor agent is called with POST."}), {}, event)
            is_base64 = bool(event.get("isBase64Encoded"))
            left = getattr(context, "get_remaining_time_in_millis", None)
            if left is None:
                reply = agent.answer(request, is_base64=is_base64)
            else:
                seconds = left() / 1000
                reply = agent.answer_within(max(seconds - MARGIN, seconds / 2), request, is_base64=is_base64)
            return _response(reply, origins.headers(origin) if origin and is_rest else {}, event)

        # `__wrapped__` is the agent, for tests; this function has a signature of its own.
        vars(serve)["__signature__"] = signature_of(serve, follow_wrapped=False)
        return serve

    return decorate


def _is_bare(event: Mapping[str, Any]) -> bool:
    return "body" not in event and "requestContext" not in event and "httpMethod" not in event


def _body(event: Mapping[str, Any]) -> object:
    return event if _is_bare(event) and event else event.get("body")


def _headers(event: Mapping[str, Any]) -> dict[str, str]:
    several = event.get("multiValueHeaders") or {}
    found = {name: values[-1] for name, values in several.items() if values}
    return found | (event.get("headers") or {})


def _method(event: Mapping[str, Any]) -> str:
    context = event.get("requestContext") or {}
    method = event.get("httpMethod") or (context.get("http") or {}).get("method") or "POST"
    return str(method).upper()


def _response(reply: Reply, headers: dict[str, str], event: Mapping[str, Any]) -> dict[str, Any]:
    headers = {**headers, **reply.headers}
    if reply.body is not None:
        headers = {**headers, "Content-Type": "application/json"}
    answer = {"statusCode": reply.status, "headers": headers, "body": reply.text, "isBase64Encoded": False}
    if "multiValueHeaders" in event and "headers" not in event:  # a load balancer configured to read only these
        answer["multiValueHeaders"] = {name: [value] for name, value in headers.items()}
    return answer
