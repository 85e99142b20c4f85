"""Certificates to trust, read once instead of for every connection.

`urllib3` reads the whole file (a hundred certificates and more) for each connection, which takes 20 ms of processor
time under the interpreter's lock, so that 16 connections at the same time take a third of a second to open.
"""

from __future__ import annotations

import os
import ssl
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.util.ssl_ import create_urllib3_context

__all__ = ["TrustingAdapter"]

# By file, with the data that shows if it has changed. Two threads that read it at the same time do no harm.
_read: dict[str, tuple[object, ssl.SSLContext]] = {}


class TrustingAdapter(HTTPAdapter):
    """Connects as `requests` does, which decides about trust. If that means a single file, the file is read once.

    Other set-ups, such as a proxy, a client certificate, or the user's own context, stay as they are.
    """

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Supply the certificates. Called by `requests` before each request, with the pool that makes connections."""
        super().cert_verify(conn, url, verify, cert)  # type: ignore[no-untyped-call]
        trusted = getattr(conn, "ca_certs", None)
        plain = trusted and not (conn.ca_cert_dir or conn.cert_file or conn.proxy or conn.assert_fingerprint)
        if not plain or not isinstance(trusted, str):
            return
        own = conn.conn_kw.get("ssl_context")
        if own is not None and all(own is not known for _, known in tuple(_read.values())):
            return
        if (context := _context(trusted)) is not None:
            conn.conn_kw["ssl_context"] = context
            conn.ca_certs = None
        elif own is not None:
            del conn.conn_kw["ssl_context"]


def _context(path: str) -> ssl.SSLContext | None:
    """Return a context that trusts a file's certificates, or ``None`` if it cannot be read: `urllib3` says why."""
    try:
        found = os.stat(path)
        state = found.st_mtime_ns, found.st_size, found.st_ino
        known = _read.get(path)
        if known is None or known[0] != state:
            context = create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED)
            context.load_verify_locations(path)
            known = _read[path] = state, context
    except (OSError, ValueError):
        return None
    return known[1]
