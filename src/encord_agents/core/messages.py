"""Files as message parts for LLM providers, in the form that their documentation describes."""

from __future__ import annotations

import base64
from typing import Any, TypeAlias

from encord_agents.core.data_model import MessageFormat

__all__ = ["Provider", "file_part"]

Provider: TypeAlias = MessageFormat

_AUDIO = {"audio/mpeg": "mp3", "audio/mp3": "mp3", "audio/wav": "wav", "audio/x-wav": "wav", "audio/wave": "wav"}


def file_part(content: bytes, mime_type: str, provider: Provider, *, name: str = "file") -> dict[str, Any]:
    """Return the message part that holds an image, a PDF or audio.

    Args:
        content: The file's bytes.
        mime_type: ``image/...``, ``application/pdf`` or ``audio/...``.
        provider: ``"openai"``: Chat Completions. ``"openai-responses"``: the Responses API. ``"anthropic"``:
            Messages. ``"gemini"``: ``generateContent``.
        name: The file's name, which OpenAI requires for PDFs.

    Raises:
        ValueError: An unknown provider, or one that does not accept such files.
    """
    text = base64.b64encode(content).decode("ascii")
    url = f"data:{mime_type};base64,{text}"
    kind = "pdf" if mime_type == "application/pdf" else mime_type.partition("/")[0]
    sound = _AUDIO.get(mime_type)
    if kind not in ("image", "pdf", "audio"):
        raise ValueError(f"Messages have no parts for {mime_type!r}: use pictures, PDFs or sound.")
    if provider == "gemini":
        return {"inline_data": {"mime_type": mime_type, "data": text}}
    if provider == "anthropic" and kind != "audio":
        source = {"type": "base64", "media_type": mime_type, "data": text}
        return {"type": "image" if kind == "image" else "document", "source": source}
    if provider not in ("openai", "openai-responses"):
        if provider == "anthropic":
            raise ValueError("Anthropic's messages have no parts for sound.")
        raise ValueError(f"Unknown provider {provider!r}: use 'openai', 'openai-responses', 'anthropic' or 'gemini'.")
    if kind == "audio":
        if sound is None:
            raise ValueError(f"OpenAI takes sound as WAV or MP3, not {mime_type!r}: Sound.wav() makes a WAV file.")
        return {"type": "input_audio", "input_audio": {"data": text, "format": sound}}
    if provider == "openai":
        if kind == "image":
            return {"type": "image_url", "image_url": {"url": url}}
        return {"type": "file", "file": {"filename": name, "file_data": url}}
    if kind == "image":
        return {"type": "input_image", "image_url": url}
    return {"type": "input_file", "filename": name, "file_data": url}
