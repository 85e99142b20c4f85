"""Certificates to trust, read once instead of for every connection.

`urllib3` reads the whole CA bundle (a hundred certificates and more) for each connection, which takes 20 ms of CPU time
under the GIL, so that 16 concurrent connections take a third of a second to open.
"""

from __future__ import annotations

import os
import ssl
from typing import Any

from requests.adapters import DEFAULT_CA_BUNDLE_PATH, HTTPAdapter
from requests.exceptions import SSLError
from urllib3.util.ssl_ import create_urllib3_context

from encord_agents.core.room import ran_out

__all__ = ["TrustError", "TrustingAdapter"]

# By path, with the state that shows if the file has changed. There is no lock: if two threads load the same file at
# once, no harm is done.
_read: dict[str, tuple[object, ssl.SSLContext]] = {}


class TrustError(SSLError):
    """The certificates to trust cannot be read. `requests` has no type for it that differs from trouble on the way."""


class TrustingAdapter(HTTPAdapter):
    """Connects as `requests` does, with the same trust. If that is a single file of certificates, it is read once.

    Other set-ups, such as a proxy, a client certificate, or the user's own context, are left unchanged.
    """

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Supply the certificates. Called by `requests` before each request, with the connection pool.

        Raises:
            TrustError: They cannot be read.
        """
        try:
            super().cert_verify(conn, url, verify, cert)  # type: ignore[no-untyped-call]
            trusted, own = getattr(conn, "ca_certs", None), conn.conn_kw.get("ssl_context")
            foreign = own is not None and all(own is not known for _, known in tuple(_read.values()))
            if foreign or not isinstance(trusted, str):
                return
            context = _context(trusted)
        except OSError as error:
            if ran_out(error) is not None:  # of handles: others will be closed
                raise
            problem = _in_words(verify if isinstance(verify, str) else DEFAULT_CA_BUNDLE_PATH, error)
        else:
            if not (conn.ca_cert_dir or conn.cert_file or conn.proxy or conn.assert_fingerprint):
                conn.conn_kw["ssl_context"] = context
                conn.ca_certs = None
            return
        raise problem  # outside the `except`: the error of `requests` quotes the path, which may be a secret by mistake


def _context(path: str) -> ssl.SSLContext:
    """Return a context that trusts a file's certificates."""
    found = os.stat(path)
    state = found.st_mtime_ns, found.st_size, found.st_ino
    known = _read.get(path)
    if known is None or known[0] != state:
        context = create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED)
        context.load_verify_locations(path)
        known = _read[path] = state, context
    return known[1]


def _in_words(path: str, error: OSError) -> TrustError:
    from encord_agents.core.settings import named_authorities  # pydantic-settings takes a while to import

    no_certificates = isinstance(error, ssl.SSLError)
    why = "it holds no certificate" if no_certificates else error.strerror or "there is no such file or directory"
    return TrustError(
        f"{named_authorities(path)}, which cannot be used: {why}. "
        "Point REQUESTS_CA_BUNDLE at a file with root certificates."
    )
