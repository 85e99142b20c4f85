"""Requests to hosted models, in the shapes that their providers document. Standard library and `requests` only.

`MODEL_URL` is the address of the service, `MODEL_KEY` its key, `MODEL_NAME` the model; each has a default but the key.
"""

from __future__ import annotations

import os
from typing import Any

import requests

TIMEOUT = (10, 120)
Parts = list[dict[str, Any]]
Schema = dict[str, Any]


def _post(default: str, path: str, headers: dict[str, str], **body: Any) -> Any:
    url = os.environ.get("MODEL_URL", default) + path
    answer = requests.post(url, headers=headers, timeout=TIMEOUT, **body)
    answer.raise_for_status()  # a 429 or 503 holds the stage back until the service wants more
    return answer.json()


def _key() -> str:
    return os.environ.get("MODEL_KEY", "")


def ask_openai(parts: Parts, schema: Schema | None = None) -> str:
    """Return the answer of OpenAI's Chat Completions, held to a schema if there is one."""
    body: dict[str, Any] = {
        "model": os.environ.get("MODEL_NAME", "gpt-5-mini"),
        "messages": [{"role": "user", "content": parts}],
    }
    if schema is not None:
        strict = {"name": "labels", "strict": True, "schema": schema}
        body["response_format"] = {"type": "json_schema", "json_schema": strict}
    headers = {"Authorization": f"Bearer {_key()}"}
    answer = _post("https://api.openai.com", "/v1/chat/completions", headers, json=body)
    return str(answer["choices"][0]["message"]["content"])


def ask_anthropic(parts: Parts, schema: Schema | None = None) -> str:
    """Return the answer of Anthropic's Messages, held to a schema if there is one."""
    body: dict[str, Any] = {
        "model": os.environ.get("MODEL_NAME", "claude-haiku-4-5"),
        "max_tokens": 1024,
        "messages": [{"role": "user", "content": parts}],
    }
    if schema is not None:
        body["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
    headers = {"x-api-key": _key(), "anthropic-version": "2023-06-01"}
    answer = _post("https://api.anthropic.com", "/v1/messages", headers, json=body)
    return "".join(part["text"] for part in answer["content"] if part["type"] == "text")


def ask_gemini(parts: Parts, schema: Schema | None = None) -> str:
    """Return the answer of Gemini's `generateContent`, held to a schema if there is one."""
    body: dict[str, Any] = {"contents": [{"role": "user", "parts": parts}]}
    if schema is not None:
        body["generationConfig"] = {"responseMimeType": "application/json", "responseJsonSchema": schema}
    model = os.environ.get("MODEL_NAME", "gemini-2.5-flash")
    path = f"/v1beta/models/{model}:generateContent"
    answer = _post("https://generativelanguage.googleapis.com", path, {"x-goog-api-key": _key()}, json=body)
    return "".join(part.get("text", "") for part in answer["candidates"][0]["content"]["parts"])


def find_objects(picture: bytes) -> list[dict[str, Any]]:
    """Return what a detector at Hugging Face finds: labels, scores and boxes."""
    model = os.environ.get("MODEL_NAME", "facebook/detr-resnet-50")
    headers = {"Authorization": f"Bearer {_key()}", "Content-Type": "image/jpeg"}
    found = _post("https://router.huggingface.co", f"/hf-inference/models/{model}", headers, data=picture)
    return list(found)
