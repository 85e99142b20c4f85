"""Renders HTML from templates, and formats the numbers and times in them."""

from __future__ import annotations

import shlex
import time
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from encord_agents.local.calls import client_of
from encord_agents.local.page.guard import token
from encord_agents.local.service import Service
from encord_agents.local.users import OWNER

if TYPE_CHECKING:
    from jinja2 import Environment

THEMES = ("light", "dark")
AGENT = client_of("")
NOTE = "local-note"
THEME = "local-theme"
"""Names of cookies. All ports of this machine share its cookies, so nothing secret is ever stored in them."""


def render(service: Service, request: Request, template: str, *, status: int = 200, **values: Any) -> Response:
    """Render a page, with the message of the last form if there is one."""
    theme = request.cookies.get(THEME, "")
    note = unquote(request.cookies.get(NOTE, ""))[:500]
    text = (
        environment()
        .get_template(template)
        .render(
            **values,
            note=note,
            theme=theme if theme in THEMES else "",
            token=token(service.database.secret()),
            here=request.url.path + (f"?{request.url.query}" if request.url.query else ""),
            domain=service.domain,
        )
    )
    response = HTMLResponse(text, status, headers={"Cache-Control": "no-store"})
    if note:
        response.delete_cookie(NOTE, samesite="strict")
    return response


def fragment(template: str, **values: Any) -> str:
    """Render a part of a page."""
    return environment().get_template(template).render(**values)


def note(response: Response, text: str) -> Response:
    """Show a message on the next page."""
    response.set_cookie(NOTE, quote(text), max_age=30, httponly=True, samesite="strict")
    return response


@cache
def environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("encord_agents.local.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "number": lambda value: f"{value:,}",
        "counted": counted,
        "ago": ago,
        "iso": lambda seconds: datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds"),
        "size": size,
        "client": client,
        "named": named,
        "percent": lambda share: f"{share * 100:.0f} %",
        "seconds": duration,
        "soon": soon,
        "shell": shlex.quote,
    }
    made.globals["static"] = static
    made.globals["owner"] = OWNER
    return made


@cache
def content(name: str) -> bytes:
    """Return the content of a static file of the page."""
    return files("encord_agents.local.page").joinpath("static", name).read_bytes()


@cache
def static(name: str) -> str:
    """Return the URL of a static file of the page, which changes with its content."""
    return f"/static/{name}?{sha256(content(name)).hexdigest()[:12]}"


def counted(count: int, one: str, several: str | None = None) -> str:
    """Return a number with its noun: ``1 task``, ``2,000 tasks``."""
    return f"{count:,} {one if count == 1 else several or one + 's'}"


def ago(seconds: float, now: float | None = None) -> str:
    """Return the time since something happened, in a few characters."""
    passed = (time.time() if now is None else now) - seconds
    if passed < 5:
        return "just now"
    for unit, length, most in (("s", 1, 60), ("min", 60, 60), ("h", 3600, 48)):
        if passed < length * most:
            return f"{int(passed // length)} {unit} ago"
    return f"{int(passed // 86400)} days ago"


def soon(seconds: float, now: float | None = None) -> str:
    """Return the time until a retry, in a few characters."""
    left = seconds - (time.time() if now is None else now)
    return "now" if left < 1 else f"again in {left:.0f} s" if left < 90 else f"again in {left / 60:.0f} min"


def duration(seconds: float) -> str:
    """Format a latency or a length in seconds."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms" if seconds >= 0.00995 else f"{seconds * 1000:.1f} ms"
    if seconds < 90:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def size(count: float) -> str:
    """Format a number of bytes."""
    for unit in ("bytes", "kB", "MB"):
        if count < 999.5:  # a greater one would be rounded to 1000
            return f"{count:.0f} {unit}" if unit == "bytes" or count >= 99.95 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def named(title: str) -> str:
    """Return a title, or a word in its place if there is nothing in it to see, and to click on."""
    return title if any(character.isprintable() and character != " " for character in title) else "untitled"


def client(name: str) -> str:
    """Return the most telling part of a ``User-Agent``: our own runners, then the SDK, then the first product."""
    if name.startswith(AGENT):
        return name
    products = [product.partition("/") for product in name.split()]
    for wanted, shown in (("encord-agents", "encord-agents"), ("encord-sdk-python", "Encord SDK")):
        for product, _, version in products:
            if product == wanted:
                return f"{shown} {version}"
    if "/" in name:
        name = " ".join(part for part in products[0] if part != "/").strip() or name
    return name if products else "unnamed"
