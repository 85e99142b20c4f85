"""``encord-agents test`` calls an editor agent as the label editor does; ``encord-agents serve`` serves agents."""

from __future__ import annotations

import base64
import inspect
import json
import re
import shlex
import time
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import parse_qs, urlsplit
from urllib.request import getproxies

import typer

from encord_agents.core.legible import literally, on_one_line
from encord_agents.core.tracebacks import chain, described, is_a
from encord_agents.exceptions import PrintableError
from encord_agents.extras import require

if TYPE_CHECKING:
    from encord_agents.core.data_model import FrameData

app = typer.Typer(no_args_is_help=True, help="Call an editor agent as the label editor does.")

STARTING = 60
"""Seconds that a server process has to import the app, which may load models."""
LAMBDA = "/2015-03-31/functions/function/invocations"
"""The path at which AWS's images for Lambda functions take events."""

EditorUrl = Annotated[str, typer.Argument(help="The address that the label editor shows, of any domain.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="The port on this machine.")]
TestHeader = Annotated[
    bool,
    typer.Option(
        "--test-header/--no-test-header", help="Only try whether the agent can be reached, as the platform does."
    ),
]


def frame_of(editor_url: str) -> FrameData:
    """Return the frame at an address of the label editor.

    Raises:
        PrintableError: It is not an address of the label editor.
    """
    from pydantic import ValidationError

    from encord_agents.core.constants import EDITOR_URL_PARTS_REGEX
    from encord_agents.core.data_model import FrameData

    found = re.match(EDITOR_URL_PARTS_REGEX, editor_url.strip())
    try:
        if found is None:
            raise ValueError
        parts = {name: found[name] for name in ("projectHash", "dataHash")}
        objects = parse_qs(found["query"] or "").get("objectHash")
        return FrameData.model_validate({**parts, "frame": found["frame"] or 0, "objectHashes": objects})
    except (ValueError, ValidationError):
        raise PrintableError(
            f"{editor_url!r} is not an address of the label editor. "
            "Copy it from the browser: https://app.encord.com/label_editor/PROJECT/DATA/FRAME"
        ) from None


@app.command()
def local(
    target: Annotated[str, typer.Argument(help="The agent's path on this machine, for instance my-agent.")],
    editor_url: EditorUrl,
    port: Port = 8080,
    test_header: TestHeader = False,
) -> None:
    """Call an agent on this machine. The exit code is 1 if there is no answer, or its status is 400 or more."""
    call(f"http://localhost:{port}/{target.removeprefix('/')}", editor_url, test_header=test_header)


@app.command()
def custom(
    endpoint: Annotated[str, typer.Argument(help="The agent's address.")],
    editor_url: EditorUrl,
    test_header: TestHeader = False,
) -> None:
    """Call an agent at any address."""
    call(endpoint, editor_url, test_header=test_header)


@app.command()
def aws(editor_url: EditorUrl, port: Port = 8080, test_header: TestHeader = False) -> None:
    """Call an agent in a container of AWS's image for Lambda functions, with the event of a function URL."""
    call(f"http://localhost:{port}{LAMBDA}", editor_url, test_header=test_header, as_event=True)


def call(endpoint: str, editor_url: str, *, test_header: bool, as_event: bool = False) -> None:
    """Send a request, and print it, its answer, the time it took and the equivalent curl command.

    Raises:
        PrintableError: One of the addresses is invalid.
        typer.Exit: The agent does not answer, or answers with an error.
    """
    import requests

    from encord_agents.core.constants import EDITOR_TEST_REQUEST_HEADER
    from encord_agents.core.trust import TrustingAdapter

    body = frame_of(editor_url).model_dump_json(by_alias=True, exclude_none=True)
    headers = {"Content-Type": "application/json"}
    if test_header:
        headers[EDITOR_TEST_REQUEST_HEADER] = "test-header"
    if as_event:
        event = {"version": "2.0", "headers": headers, "body": body, "isBase64Encoded": False}
        body, headers = json.dumps(event), {"Content-Type": "application/json"}
    given = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
    directly = _directly(endpoint)
    given += [part for host in directly.values() for part in ("--noproxy", host)]
    curl = shlex.join(["curl", "-X", "POST", endpoint, *given, "-d", body])
    _tell("request", f"POST {endpoint}")
    _tell("data", body)
    started = time.perf_counter()
    try:
        with requests.Session() as session:
            session.mount("https://", TrustingAdapter())
            answer = session.post(endpoint, data=body, headers=headers, timeout=(10, None), proxies=directly)
    except (ValueError, requests.exceptions.InvalidURL) as error:
        raise PrintableError(f"{endpoint!r} is not an address: {error}") from None
    except requests.RequestException as error:
        _tell("error", _why(endpoint, error, as_event=as_event))
        _tell("curl", curl)
        raise typer.Exit(1) from error
    seconds = time.perf_counter() - started
    status, text = answer.status_code, answer.text
    if as_event and answer.ok:
        status, text = _unpacked(status, text)
    _tell("status", str(status))
    _tell("answer", text)
    _tell("elapsed", f"{seconds:.3f} s")
    _tell("editor", editor_url)
    _tell("curl", curl)
    if status >= 400:
        raise typer.Exit(1)


def _directly(endpoint: str) -> dict[str, str]:
    """Return the `proxies` of `requests` for an address: a proxy of the environment cannot reach this machine's own."""
    from encord_agents.core.answers import is_loopback  # late: it needs the SDK

    try:
        is_here, host = is_loopback(endpoint), urlsplit(endpoint).hostname or ""
    except ValueError:  # not an address at all
        return {}
    return {"no_proxy": host} if is_here and getproxies() else {}


def _why(endpoint: str, error: Exception, *, as_event: bool) -> str:
    """Return the reason for a missing answer, and its remedy."""
    from encord_agents.core.answers import refused_certificate  # late: it needs `requests`

    if (refused := refused_certificate(error)) is not None:
        return f"{endpoint} cannot be trusted: {refused}"
    if any(is_a(one, ConnectionRefusedError) for one in chain(error)):
        how = "docker run -p 8080:8080 IMAGE" if as_event else "encord-agents serve agents:app"
        return f"Nobody listens at {endpoint}. Start the agent, for instance with `{how}`, or correct the address."
    return f"No answer from {endpoint}: {described(error)}"


def _unpacked(status: int, text: str) -> tuple[int, str]:
    """Return the status and body that a gateway makes of a function's answer: 502 if the answer has no status."""
    try:
        answer = json.loads(text)
        status, body = int(answer["statusCode"]), str(answer.get("body") or "")
        if answer.get("isBase64Encoded"):
            body = base64.b64decode(body, validate=True).decode("utf-8", "replace")
        return status, body
    except (ValueError, TypeError, KeyError, OverflowError):
        return 502, text


def _tell(what: str, text: str) -> None:
    typer.echo(f"{what + ':':<9} {on_one_line(text) if what != 'curl' else literally(text)}")


def serve(
    where: Annotated[str, typer.Argument(metavar="MODULE:APP", help="The app, for instance agents:app.")],
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Port = 8080,
    reload: Annotated[bool, typer.Option("--reload", help="Restart when a file changes.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes that serve it; without --reload.")] = 1,
) -> None:
    """Serve an app of editor agents, until it is interrupted."""
    require("fastapi", "This command")
    import uvicorn
    from starlette.applications import Starlette

    from encord_agents.cli.apps import find_app

    found = find_app(where, Starlette, "FastAPI")
    module, _, name = where.partition(":")
    # Reloaded and additional processes import the app themselves.
    by_name = reload or workers > 1
    where = f"{module}:{name or 'app'}"
    options: dict[str, Any] = {"host": host, "port": port, "reload": reload, "workers": None if reload else workers}
    options["http"] = "encord_agents.fastapi.promptly:PromptProtocol"
    if "timeout_worker_healthcheck" in inspect.signature(uvicorn.run).parameters:
        # By default, uvicorn kills and restarts a worker that has not imported the app within 5 s, endlessly.
        options["timeout_worker_healthcheck"] = STARTING
    uvicorn.run(where if by_name else found, **options)
