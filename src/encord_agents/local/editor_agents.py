"""Editor agents that the page can call: their names and addresses."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

from encord_agents.local.origins import is_here
from encord_agents.local.service import Service
from encord_agents.local.trouble import LocalPlatformError

__all__ = ["EditorAgent", "add", "find", "registered", "remove"]

SETTING = "editor_agents"
LONGEST_NAME = 80
LONGEST_ADDRESS = 2_000


@dataclass(frozen=True)
class EditorAgent:
    """An editor agent that was registered.

    Attributes:
        name: A unique name for people.
        address: An ``http`` or ``https`` URL.
        elsewhere: True if it may be on another machine.
    """

    name: str
    address: str
    elsewhere: bool = False

    @property
    def shown(self) -> str:
        """The address without its query, which may be a secret."""
        return self.address.partition("?")[0]


def registered(service: Service) -> list[EditorAgent]:
    """Return the agents, in the order in which they were registered."""
    return _read(service.setting(SETTING))


def find(service: Service, name: str) -> EditorAgent | None:
    """Return the agent with a name, if there is one."""
    return next((agent for agent in registered(service) if agent.name == name), None)


def add(service: Service, name: str, address: str, *, elsewhere: bool = False) -> EditorAgent:
    """Register an agent, or change its address.

    Args:
        name: Up to 80 characters.
        address: The URL where it receives requests.
        elsewhere: Allow an address on another machine.

    Raises:
        LocalPlatformError: The name or the address cannot be used.
    """
    agent = EditorAgent(_checked_name(name), _checked_address(address, elsewhere=elsewhere), elsewhere)

    def with_it(kept: Any) -> Any:
        agents = {other.name: other for other in _read(kept)} | {agent.name: agent}
        return [asdict(one) for one in agents.values()]

    service.change_setting(SETTING, with_it)
    return agent


def remove(service: Service, name: str) -> None:
    """Remove an agent.

    Raises:
        LocalPlatformError: There is no agent with this name.
    """
    name = name.strip()  # as `add` does

    def without_it(kept: Any) -> Any:
        agents = _read(kept)
        left = [asdict(agent) for agent in agents if agent.name != name]
        if len(left) == len(agents):
            known = ", ".join(repr(agent.name) for agent in agents) or "none"
            raise LocalPlatformError(f"There is no editor agent {name[:LONGEST_NAME]!r}. Registered: {known}.")
        return left

    service.change_setting(SETTING, without_it)


def _read(kept: Any) -> list[EditorAgent]:
    return [EditorAgent(**one) for one in kept or ()]


def _checked_name(name: str) -> str:
    name = name.strip()
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise LocalPlatformError(f"An editor agent has a name of 1 to {LONGEST_NAME} printable characters.")
    return name


def _checked_address(address: str, *, elsewhere: bool) -> str:
    address = address.strip()
    hint = "An address is like http://127.0.0.1:8080/my-agent."
    if not address.isascii() or not address.isprintable() or " " in address or len(address) > LONGEST_ADDRESS:
        raise LocalPlatformError(f"The address has characters that addresses cannot have, or too many. {hint}")
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        raise LocalPlatformError(f"{address!r} is not an address. {hint}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise LocalPlatformError(f"{address!r} is not an http or https address. {hint}")
    if parts.username is not None or parts.password is not None:
        raise LocalPlatformError(f"Leave user and password out of the address: the label editor sends none. {hint}")
    if parts.fragment:
        raise LocalPlatformError(f"Leave out what is behind the #: it is never sent. {hint}")
    if not elsewhere and not is_here(parts):
        raise LocalPlatformError(
            f"{parts.hostname} is not this machine. If the agent is meant to be called there, register it with "
            "`encord-agents local agents add --elsewhere`, or `add_editor_agent(..., elsewhere=True)`."
        )
    return address
