"""Opening a project: the first request of all, so the first to meet a wrong address or a platform in trouble."""

from __future__ import annotations

from contextlib import suppress
from http import HTTPStatus
from uuid import UUID

from encord.exceptions import (
    AuthenticationError,
    AuthorisationError,
    EncordException,
    GenericServerError,
    RateLimitExceededError,
    SshKeyNotFound,
    UnknownException,
)
from encord.project import Project
from encord.user_client import EncordUserClient

from encord_agents.core.answers import (
    NOBODY,
    PASSING,
    has_proxy,
    is_loopback,
    proxy_refuses,
    refused_by_proxy,
    refused_certificate,
    unreachable,
)
from encord_agents.core.legible import on_a_line, on_one_line
from encord_agents.core.logs import get_logger
from encord_agents.core.sdk.messages import foreign_answer, status_of
from encord_agents.core.tracebacks import add_note, described
from encord_agents.exceptions import CertificateError, OutageError, PrintableError
from encord_agents.redaction import without_secrets
from encord_agents.tasks.engine.gate import Gate, SetUpError
from encord_agents.tasks.engine.stop import Stop
from encord_agents.tasks.engine.verdict import Verdict, verdict

__all__ = ["MAX_OUTAGE", "not_the_api", "open_project", "with_advice"]

logger = get_logger(__name__)

MAX_OUTAGE = 300.0
"""Seconds to wait for a platform in trouble, unless the caller says otherwise."""
LONGEST_REASON = 200
"""The maximum length of the SDK's message in a warning, in characters."""


def open_project(
    client: EncordUserClient, project_hash: UUID, *, stop: Stop | None = None, max_outage: float = MAX_OUTAGE
) -> Project:
    """Return a project. If the platform is in trouble, warn at once and wait for it.

    Args:
        client: A client made by `sending_once`.
        project_hash: The project.
        stop: Ends the wait.
        max_outage: Seconds to wait.

    Raises:
        CertificateError: The platform's certificate is not trusted here.
        PrintableError: The answer is not from the API, its status is one that no other try would change, or the address
            is this machine's and nothing listens there.
        OutageError: The platform did not answer for `max_outage` seconds.
        Leaving: A stop was requested.
        encord.exceptions.EncordException: The platform refuses; a note says what to do.
    """
    address = without_secrets(client.user_config.domain)
    warned = False

    def warn(_: str, error: Exception) -> None:
        nonlocal warned
        if not warned:
            warned = True
            said = on_a_line(without_secrets(described(error)), LONGEST_REASON)
            why = unreachable(error) or f"it is in trouble ({said})"
            logger.warning(
                "The platform at %s does not answer: %s. It is asked again, for up to %g s.",
                *(on_one_line(address), why, max_outage),
            )

    def request() -> Project:
        problem: Exception | None = None
        try:
            return client.get_project(str(project_hash))
        except EncordException as error:
            problem = _final(error, address) or error
        raise problem  # outside the `except`: the SDK's exception may quote a whole page, and must not be its context

    gate = Gate(stop or Stop(), max_outage=max_outage, grace=0.0, on_outage=warn)  # reads need no grace
    trouble: Exception
    try:
        return gate.call(request, kind="project")
    except OutageError as outage:
        last = outage.__cause__ or outage
        trouble = OutageError.before_the_run(outage.seconds, last, on_one_line(address), outage.asked)
    except SetUpError as refused:
        trouble = refused.error
    except EncordException as error:
        trouble = with_advice(error, project_hash)
    raise trouble from None


def _final(error: EncordException, address: str) -> PrintableError | None:
    """Return a readable message for an error that another try would not help, or ``None``."""
    if (refused := refused_certificate(error)) is not None:
        return CertificateError(f"The platform at {on_one_line(address)} cannot be trusted: {refused}")
    is_outage, answer = verdict(error) is Verdict.OUTAGE, not_the_api(error)
    if is_loopback(address) and has_proxy(address) and (is_outage or answer is not None):
        return PrintableError(
            f"{on_one_line(address)} is this machine, but requests to it go to a proxy, which does not pass them on. "
            "Exempt this machine: NO_PROXY=127.0.0.1,localhost"
        )
    if unreachable(error) == NOBODY and is_loopback(address):
        return PrintableError(
            f"Nobody listens at {on_one_line(address)}, the address in ENCORD_DOMAIN (the connection was refused). "
            "If the local platform should be there, start it: encord-agents local up"
        )
    if answer is not None:
        return PrintableError(
            f"What answers at {on_one_line(address)} is not the Encord API: it sent {answer}. Check ENCORD_DOMAIN: it "
            "is the address of the API, as https://api.encord.com, not that of the web application."
        )
    status = status_of(error) if is_outage else None
    mistake = refused_by_proxy(error, address)
    if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        mistake = proxy_refuses(status, address)
    if mistake is not None:
        return PrintableError(f"The platform at {on_one_line(address)} cannot be reached: {mistake}.")
    if status is not None and status < HTTPStatus.INTERNAL_SERVER_ERROR and status not in PASSING:
        # In the middle of a run it may be a passing trouble. The first request of all meets a mistake of the set-up.
        said = on_a_line(without_secrets(error.message), LONGEST_REASON)
        return PrintableError(
            f"{on_one_line(address)} answered with HTTP status {status}{_phrase(status)}, so the project could not be "
            f"opened: {said} Check ENCORD_DOMAIN, and what is in between, such as a proxy."
        )
    return None


def _phrase(status: int) -> str:
    with suppress(ValueError):
        return f" ({HTTPStatus(status).phrase})"
    return ""


def not_the_api(error: EncordException) -> str | None:
    """Describe an answer that did not come from the API, or return ``None``.

    A server in trouble may say so with a web page: that is an outage, whoever wrote the page.
    """
    if isinstance(error, UnknownException | GenericServerError | RateLimitExceededError):
        return None
    return foreign_answer(error)


def with_advice(error: EncordException, project_hash: object, *, doing: str = "open") -> EncordException:
    """Return the SDK's own exception, with a note that says what to do.

    Args:
        error: The exception.
        project_hash: The project.
        doing: The action on the project that failed, as a verb.
    """
    if (answer := not_the_api(error)) is not None:
        note = f"What answered is not the Encord API: it sent {answer}. Check ENCORD_DOMAIN, and what is in between."
    elif isinstance(error, AuthenticationError | SshKeyNotFound):
        note = (
            "The platform does not know this key. Register its public half in your profile, and check that "
            "ENCORD_DOMAIN is the region you registered it in."
        )
    elif isinstance(error, AuthorisationError):
        note = (
            f"The key is known, but may not {doing} project {project_hash}: check the hash, "
            "and that the key's user is a member with the rights for it."
        )
    else:
        note = f"This happened while trying to {doing} project {project_hash}."
    add_note(error, note)
    return error
