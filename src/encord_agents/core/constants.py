"""Header names, URL patterns and limits of the platform and its label editor."""

from __future__ import annotations

from typing import Final

__all__ = [
    "AGENT_TEST_REQUEST_HEADER",
    "EDITOR_TEST_REQUEST_HEADER",
    "EDITOR_URL_PARTS_REGEX",
    "ENCORD_DOMAIN_REGEX",
    "HEADER_CLOUD_TRACE_CONTEXT",
    "MAX_DECISION_LENGTH",
    "WEBHOOK_SIGNATURE_HEADER",
    "WEBHOOK_TIMESTAMP_HEADER",
]

EDITOR_TEST_REQUEST_HEADER: Final = "X-Encord-Editor-Agent"
"""The header of the request with which the platform tests whether an agent can be reached."""

AGENT_TEST_REQUEST_HEADER: Final = "X-Encord-Agent"
"""The same header under its newer name, used since editor agents are called custom agents."""

HEADER_CLOUD_TRACE_CONTEXT: Final = "X-Cloud-Trace-Context"
"""The header with the trace id of a request."""

ENCORD_DOMAIN_REGEX: Final = (
    r"^https://(?:(?:dev|staging|app)\.(?:us\.)?encord\.com|cord-ai-development--\w+-\w+\.web\.app)$"
)
"""The origins of the label editor."""

EDITOR_URL_PARTS_REGEX: Final = (
    r"(?P<domain>https?://[^/?#\s]+)/label_editor/(?P<projectHash>[\w-]{36})/(?P<dataHash>[\w-]{36})(?![\w-])"
    r"(?:/(?P<frame>\d+))?(?:/(?P<additional_path>[^?#]*))?(?:\?(?P<query>[^#]*))?"
)
"""The parts of a label editor's URL, of any domain."""

MAX_DECISION_LENGTH: Final = 256
"""The number of characters of a pathway's name that the platform reads."""

WEBHOOK_SIGNATURE_HEADER: Final = "X-Encord-Signature"
"""The header with the signature of a notification."""

WEBHOOK_TIMESTAMP_HEADER: Final = "X-Encord-Timestamp"
"""The header with the time of signing, in seconds since 1970, which the signature covers."""
