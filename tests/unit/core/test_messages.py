"""Files as parts of messages, in the shapes that providers document."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from encord_agents.core.messages import file_part

DATA = base64.b64encode(b"content").decode()


@pytest.mark.parametrize(
    ("mime_type", "provider", "part"),
    [
        ("image/png", "openai", {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{DATA}"}}),
        ("image/png", "openai-responses", {"type": "input_image", "image_url": f"data:image/png;base64,{DATA}"}),
        (
            "image/png",
            "anthropic",
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": DATA}},
        ),
        ("image/png", "gemini", {"inline_data": {"mime_type": "image/png", "data": DATA}}),
        (
            "application/pdf",
            "openai",
            {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{DATA}"}},
        ),
        (
            "application/pdf",
            "openai-responses",
            {"type": "input_file", "filename": "a.pdf", "file_data": f"data:application/pdf;base64,{DATA}"},
        ),
        (
            "application/pdf",
            "anthropic",
            {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": DATA}},
        ),
        ("application/pdf", "gemini", {"inline_data": {"mime_type": "application/pdf", "data": DATA}}),
        ("audio/wav", "openai", {"type": "input_audio", "input_audio": {"data": DATA, "format": "wav"}}),
        ("audio/mpeg", "openai", {"type": "input_audio", "input_audio": {"data": DATA, "format": "mp3"}}),
        ("audio/flac", "gemini", {"inline_data": {"mime_type": "audio/flac", "data": DATA}}),
    ],
)
def test_each_provider_has_its_shape(mime_type: str, provider: Any, part: dict[str, Any]) -> None:
    """Pictures, PDFs and sound."""
    assert file_part(b"content", mime_type, provider, name="a.pdf") == part


@pytest.mark.parametrize(
    ("mime_type", "provider", "words"),
    [
        ("audio/wav", "anthropic", "no parts for sound"),
        ("audio/flac", "openai", "as WAV or MP3"),
        ("text/plain", "openai", "no parts for 'text/plain'"),
        ("image/png", "mistral", "Unknown provider 'mistral'"),
        ("audio/wav", "mistral", "Unknown provider 'mistral'"),
    ],
)
def test_where_there_is_none(mime_type: str, provider: Any, words: str) -> None:
    """That is an error that says so, instead of a request that is refused."""
    with pytest.raises(ValueError, match=words):
        file_part(b"content", mime_type, provider)
