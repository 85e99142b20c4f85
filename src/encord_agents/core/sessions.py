"""Sessions of `requests` that are used again and again, and cost little each time."""

from __future__ import annotations

from collections.abc import Callable
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from requests.adapters import HTTPAdapter

__all__ = ["new_session"]


class _Session(requests.Session):
    """Looks for proxies only where some are named: `requests` reads the whole environment twice for each request, which
    takes it as long as all else that it does."""

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        from encord_agents.core.settings import authorities, names_proxies  # pydantic-settings takes a while to import

        if not self.trust_env or names_proxies():
            return super().merge_environment_settings(url, proxies, stream, verify, cert)
        if verify is True or verify is None:
            verify = authorities() or verify
        # A copy, since other threads may use this session; and by the base's method, which some programs replace.
        untrusting = object.__new__(type(self))
        untrusting.__dict__.update(self.__dict__, trust_env=False)  # `copy.copy` takes twenty times as long
        return requests.Session.merge_environment_settings(untrusting, url, proxies, stream, verify, cert)


def new_session(adapter: Callable[[], HTTPAdapter]) -> requests.Session:
    """Return a session that keeps no cookies, with an adapter of its own for each of http and https."""
    session = _Session()
    for scheme in ("https://", "http://"):
        session.mount(scheme, adapter())
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return session
