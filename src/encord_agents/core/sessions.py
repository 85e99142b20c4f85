"""Long-lived sessions of `requests` with little overhead per request."""

from __future__ import annotations

from collections.abc import Callable
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from requests.adapters import HTTPAdapter

__all__ = ["new_session"]


class _Session(requests.Session):
    """Looks for proxies only if the environment names some.

    `requests` reads the whole environment twice for each request, which takes as long as the rest of its work.
    """

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        from encord_agents.core.settings import authorities, names_proxies  # pydantic-settings takes a while to import

        if proxies or self.proxies or not self.trust_env or names_proxies() or not _is_as_released():
            return super().merge_environment_settings(url, proxies, stream, verify, cert)
        if verify is True or verify is None:
            verify = authorities() or verify
        return {
            "proxies": {},
            "stream": self.stream if stream is None else stream,
            "verify": self.verify if verify is None else verify,
            "cert": self.cert if cert is None else cert,
        }


def _is_as_released() -> bool:
    """Return True if `requests` has its original method: some programs patch it, to change proxies or trust."""
    code = getattr(requests.Session.merge_environment_settings, "__code__", None)
    return code is not None and code.co_filename == requests.sessions.__file__


def new_session(adapter: Callable[[], HTTPAdapter]) -> requests.Session:
    """Return a session that keeps no cookies, with an adapter of its own for each of http and https."""
    session = _Session()
    for scheme in ("https://", "http://"):
        session.mount(scheme, adapter())
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return session
