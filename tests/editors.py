"""The doors of editor agents, each behind real HTTP: FastAPI, Google Cloud Functions, AWS Lambda."""

from __future__ import annotations

import base64
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from encord.objects import LabelRowV2
from encord.user_client import EncordUserClient
from fastapi import Depends
from tests.servers import serving

from encord_agents import FrameData
from encord_agents.fastapi import get_encord_app
from encord_agents.fastapi.dependencies import dep_client, dep_label_row

__all__ = ["DOORS", "Behaviour", "listening", "served"]

Behaviour = Callable[[FrameData, LabelRowV2, EncordUserClient], Any]

DOORS = ("fastapi", "gcp", "aws-1", "aws-2", "aws-2-base64", "aws-alb", "aws-alb-several")

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


@contextmanager
def served(door: str, behaviour: Behaviour, **options: Any) -> Iterator[str]:
    """Serve an editor agent through a door, and yield its address."""
    if door == "fastapi":
        with _on_fastapi(behaviour, **options) as address:
            yield address
    elif door == "gcp":
        with _on_flask(behaviour, **options) as address:
            yield address
    else:
        with _on_lambda(door, behaviour, **options) as address:
            yield address


@contextmanager
def listening(app: Any, port: int = 0) -> Iterator[str]:
    """Serve an ASGI app over HTTP, on a free port if none is given."""
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="critical"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            thread.join(0.01)
            assert thread.is_alive(), "the server has ended"
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def _on_fastapi(behaviour: Behaviour, **options: Any) -> Iterator[str]:
    app = get_encord_app(**options)

    def agent(
        frame_data: FrameData,
        row: Annotated[LabelRowV2, Depends(dep_label_row)],
        client: Annotated[EncordUserClient, Depends(dep_client)],
    ) -> Any:
        return behaviour(frame_data, row, client)

    app.post("/agent")(agent)
    with listening(app) as address:
        yield f"{address}/agent"


def _injected(behaviour: Behaviour) -> Callable[..., Any]:
    def agent(frame_data: FrameData, row: LabelRowV2, client: EncordUserClient) -> Any:
        return behaviour(frame_data, row, client)

    return agent


@contextmanager
def _on_flask(behaviour: Behaviour, **options: Any) -> Iterator[str]:
    import flask
    from werkzeug.serving import make_server

    from encord_agents.gcp import editor_agent

    function = editor_agent(**options)(_injected(behaviour))
    app = flask.Flask("agents")
    app.add_url_rule("/agent", view_func=lambda: function(flask.request), endpoint="a", methods=METHODS)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    with serving(server):
        yield f"http://127.0.0.1:{server.server_port}/agent"


@contextmanager
def _on_lambda(door: str, behaviour: Behaviour, **options: Any) -> Iterator[str]:
    """A gateway that makes events of requests, as AWS does."""
    from encord_agents.aws import editor_agent

    function = editor_agent(**options)(_injected(behaviour))

    class Gateway(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answer = function(json.loads(json.dumps(self.event(body))), None)
            content = answer["body"].encode()
            self.send_response(answer["statusCode"])
            if door == "aws-alb-several":
                headers = [(name, one) for name, values in answer["multiValueHeaders"].items() for one in values]
            else:
                headers = [*answer["headers"].items()]
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_OPTIONS = do_GET = do_PUT = do_PATCH = do_DELETE = do_POST  # noqa: N815

        def event(self, body: bytes) -> dict[str, Any]:
            coded = door.endswith("base64")
            if not coded:
                try:
                    text = body.decode()
                except UnicodeDecodeError:  # as gateways send what is no text
                    coded = True
            if coded:
                text = base64.b64encode(body).decode()
            if door.startswith("aws-alb"):
                event = {
                    "requestContext": {
                        "elb": {"targetGroupArn": "arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/a/b"}
                    },
                    "httpMethod": self.command,
                    "path": "/agent",
                    "body": text,
                    "isBase64Encoded": coded,
                }
                headers = {name.lower(): value for name, value in self.headers.items()}
                if door == "aws-alb":
                    return event | {"headers": headers}
                return event | {"multiValueHeaders": {name: [value] for name, value in headers.items()}}
            if door == "aws-1":
                several = {name: [value] for name, value in self.headers.items()}
                return {
                    "httpMethod": self.command,
                    "headers": dict(self.headers.items()),
                    "multiValueHeaders": several,
                    "body": text or None,
                    "isBase64Encoded": coded,
                }
            event = {
                "version": "2.0",
                "headers": {name.lower(): value for name, value in self.headers.items()},
                "requestContext": {"http": {"method": self.command}},
                "isBase64Encoded": coded,
            }
            return event | ({"body": text} if text else {})

        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Gateway)
    with serving(server):
        yield f"http://127.0.0.1:{server.server_port}/agent"
