"""Certificates to trust, read once instead of for every connection.

`urllib3` reads the whole CA bundle (a hundred certificates and more) for each connection, which takes 20 ms of CPU time
under the GIL, so that 16 concurrent connections take a third of a second to open.
"""

from __future__ import annotations

import os
import ssl
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.util.ssl_ import create_urllib3_context

__all__ = ["TrustingAdapter"]

# By path, with the state that shows if the file has changed. There is no lock: if two threads load the same file at
# once, no harm is done.
_read: dict[str, tuple[object, ssl.SSLContext]] = {}


class TrustingAdapter(HTTPAdapter):
    """Connects as `requests` does, with the same trust. If that is a single file of certificates, it is read once.

    Other set-ups, such as a proxy, a client certificate, or the user's own context, are left unchanged.
    """

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Supply the certificates. Called by `requests` before each request, with the connection pool."""
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
    """Return a context that trusts a file's certificates, or ``None`` if it cannot be read: `urllib3` reports why."""
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
