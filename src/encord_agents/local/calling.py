"""Calls editor agents as the label editor does, and explains their answers to people.

The request only goes to the registered address: through no proxy, following no redirect, and, unless the agent is
registered as being elsewhere, never leaving this machine.
"""

from __future__ import annotations

import http.client
import io
import ipaddress
import json
import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from encord_agents.local.calls import TRACE_HEADER
from encord_agents.local.editor_agents import EditorAgent

__all__ = ["ORIGIN", "Outcome", "call"]

ORIGIN = "https://app.encord.com"
"""The label editor's origin: agents accept no other."""
TEST_HEADER = "X-Encord-Editor-Agent"
DEFAULT_PORTS = {"http": 80, "https": 443}
LARGEST_ANSWER = 2**20
"""The most bytes of an answer."""
LONGEST_MESSAGE = 2_000
"""The most characters that are shown of a message."""


@dataclass(frozen=True)
class Outcome:
    """The result of a call.

    Attributes:
        agent: Its name.
        at: When it was called, in seconds since 1970.
        seconds: How long it took.
        status: The status of its answer; ``None`` if there was none.
        message: The message of its answer; may be empty.
        trouble: The failure and its remedy, in a sentence or two; empty if the call succeeded.
        decision: The decision in its answer.
        told: The result of the decision, in words.
    """

    agent: str
    at: float
    seconds: float
    status: int | None = None
    message: str = ""
    trouble: str = ""
    decision: str | None = None
    told: str = ""

    @property
    def is_good(self) -> bool:
        return self.status is not None and self.status < 300


class _Trouble(Exception):  # noqa: N818 -- a sentence for a person
    """Raised if there is no answer, or none that can be shown."""


def call(
    agent: EditorAgent,
    *,
    project: str,
    data: str,
    frame: int,
    objects: Sequence[str],
    trace_id: str,
    timeout: float,
    is_test: bool = False,
) -> Outcome:
    """Call an agent as the label editor does. Raises nothing: failures are in the outcome.

    Args:
        project: The project's hash.
        data: The data unit's hash.
        frame: The number of the frame on the screen.
        objects: The hashes of the selected objects.
        trace_id: The trace id of the request.
        timeout: Seconds from the connection to the end of the answer.
        is_test: Only check that the agent can be reached.
    """
    body: dict[str, Any] = {"projectHash": project, "dataHash": data, "frame": frame}
    if objects:
        body["objectHashes"] = list(objects)
    headers = {
        "Content-Type": "application/json",
        "Accept": "*/*",
        "Origin": ORIGIN,
        "Referer": f"{ORIGIN}/",
        "User-Agent": "Mozilla/5.0 (encord-agents local platform)",
        TRACE_HEADER: f"{trace_id}/1;o=1",
    }
    if is_test:
        headers[TEST_HEADER] = "test-content"
    at, started = time.time(), time.monotonic()
    try:
        status, answer_headers, content = _post(
            agent, json.dumps(body, separators=(",", ":")).encode(), headers, started + timeout
        )
    except _Trouble as trouble:
        return Outcome(agent.name, at, time.monotonic() - started, trouble=str(trouble))
    except TimeoutError:
        told = f"{agent.name} has not answered within {timeout:g} s. It may still be at work: look again in a while."
        return Outcome(agent.name, at, time.monotonic() - started, trouble=told)
    taken = time.monotonic() - started
    message, decision, oddity = _read(content)
    if status >= 300:
        return Outcome(agent.name, at, taken, status, message, _advice(status, answer_headers, message))
    return Outcome(agent.name, at, taken, status, message, oddity, decision)


def _post(
    agent: EditorAgent, content: bytes, headers: dict[str, str], deadline: float
) -> tuple[int, http.client.HTTPMessage, bytes]:
    parts = urlsplit(agent.address)
    host = parts.hostname or ""
    port = parts.port or DEFAULT_PORTS[parts.scheme]
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        with _connected(agent, host, port, is_tls=parts.scheme == "https", deadline=deadline) as connected:
            connection = http.client.HTTPConnection(host, port)
            connection.sock = connected
            connection.default_port = DEFAULT_PORTS[parts.scheme]  # which the Host header leaves out
            connection.request("POST", target, content, headers)
            response = http.client.HTTPResponse(_Timed(connected, deadline), method="POST")  # type: ignore[arg-type]
            response.begin()
            answer = response.read(LARGEST_ANSWER + 1)
            if len(answer) > LARGEST_ANSWER:
                raise _Trouble(f"The answer of {agent.name} has more than {LARGEST_ANSWER:,} bytes. Let it say less.")
            return response.status, response.headers, answer
    except TimeoutError:
        raise
    except ConnectionRefusedError:
        raise _Trouble(
            f"Nobody listens at {agent.shown}. Start the agent, for instance with `encord-agents serve agents:app`, "
            "or correct its address."
        ) from None
    except socket.gaierror:
        raise _Trouble(f"There is no host {host}. Correct the address of {agent.name}.") from None
    except ssl.SSLError as error:
        why = error.reason or "no certificate that this machine trusts"
        raise _Trouble(f"{agent.shown} cannot be asked by TLS ({why}). Is it an http address?") from None
    except (http.client.HTTPException, ValueError):
        raise _Trouble(f"{agent.shown} did not answer in HTTP. Correct the address of {agent.name}.") from None
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise _Trouble(f"The connection to {agent.shown} broke ({why}). See the agent's log, and try again.") from None


def _connected(agent: EditorAgent, host: str, port: int, *, is_tls: bool, deadline: float) -> socket.socket:
    """Connect to an agent, and check that the address it resolved to is allowed before anything is sent."""
    connected = socket.create_connection((host, port), _left(deadline))
    try:
        address = ipaddress.ip_address(connected.getpeername()[0])
        if not agent.elsewhere and not address.is_loopback:
            raise _Trouble(
                f"{host} leads to another machine ({address}), and {agent.name} was registered as one of this machine. "
                "Register it with --elsewhere if that is meant."
            )
        connected.settimeout(_left(deadline))
        if not is_tls:
            return connected
        return ssl.create_default_context().wrap_socket(connected, server_hostname=host)
    except BaseException:
        connected.close()
        raise


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


class _Timed(io.RawIOBase):
    """Reads a socket until a deadline for the whole answer, however slowly its bytes arrive."""

    def __init__(self, connected: socket.socket, deadline: float) -> None:
        self._socket = connected
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._socket.settimeout(_left(self._deadline))
        return self._socket.recv_into(buffer)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)


def _read(content: bytes) -> tuple[str, str | None, str]:
    """Return the message and decision of an answer, and a complaint if it is malformed. An empty answer is valid."""
    if not content.strip():
        return "", None, ""
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        return "", None, "Its answer is not JSON, so there is no message: return an EditorAgentResponse."
    if answer is None:
        return "", None, ""
    if not isinstance(answer, dict):
        return "", None, "Its answer is not a JSON object, so there is no message: return an EditorAgentResponse."
    message, decision = answer.get("message"), answer.get("decision")
    odd = [name for name in ("message", "decision") if not isinstance(answer.get(name), str | None)]
    return (
        message.strip()[:LONGEST_MESSAGE] if isinstance(message, str) else "",
        (decision.strip() or None) if isinstance(decision, str) else None,
        f"Its answer has a {odd[0]} that is not text: return an EditorAgentResponse." if odd else "",
    )


_ADVICE: dict[int, str] = {
    400: "It refused the request: do what its message says, and call it again.",
    401: "It asks for credentials, and the label editor sends none: let it answer without.",
    403: (
        "It has no access, or lets nobody in from the editor. Run it with the ENCORD_DOMAIN and the key that "
        f"`encord-agents local up` printed, and let the origin {ORIGIN} in."
    ),
    404: (
        "There is nothing at its address, or it does not find the data unit or object. Correct the address, and run it "
        "with the ENCORD_DOMAIN that `encord-agents local up` printed."
    ),
    405: "What is at its address takes no POST. Correct the address.",
    409: "The label row is being worked on. Try again in a moment.",
    413: "The request is too large for it: select fewer objects.",
    422: "It does not take what the label editor sends: its parameter must be a FrameData.",
    429: "It is called too often. Try again in a moment.",
    503: "It is too busy just now. Try again in a moment.",
    504: "It did not end in time. Let it do less, or allow it more time.",
}


def _advice(status: int, headers: http.client.HTTPMessage, message: str) -> str:
    """Explain a status, and how to fix its cause."""
    if status < 400:
        where = str(headers.get("Location", "another address"))[:200]
        return f"It answered {status}, with a redirect to {where}, which is not followed: register that address."
    if status in _ADVICE:
        return f"It answered {status}. {_ADVICE[status]}"
    if status >= 500:
        return f"It answered {status}: the agent failed. The traceback is in its log."
    return f"It answered {status}, and did not take the request." + ("" if message else " See its log.")
