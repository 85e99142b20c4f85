"""Authentication of requests: the signatures of both protocols, and bearer tokens."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import time
from collections.abc import Callable, Mapping
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from encord_agents.local.trouble import Refusal

_COVERED = '("@method" "@request-target" "content-digest")'
_PARAMETERS = re.compile(re.escape(_COVERED) + r';created=(\d{1,12});keyid="([0-9a-f]{64})";alg="ed25519"')


# The SDK's transport sends a request up to four times with one signature, and waits up to 180 s for each answer.
MAX_AGE = 900.0
"""Seconds that a v2 signature is valid for, before and after its creation time."""

SIGNATURES_KEPT = 4096
"""Verified signatures that are cached: verifying one takes a tenth of the time of a request."""


class Verifier:
    """Verifies signatures by the keys that ``known`` accepts. Key objects are cached, since making one is slow.

    Args:
        known: Returns True if a user has this key.
        now: The clock that signatures are compared with, in seconds since 1970.
    """

    def __init__(self, known: Callable[[str], bool], now: Callable[[], float] = time.time) -> None:
        self._known = known
        self._now = now
        self._keys: dict[str, Ed25519PublicKey] = {}
        # v1 signs nothing but the body, so that equal requests have equal signatures. A signature that was valid stays
        # valid, and each request looks up in the database whether a user still has the key.
        self._verify = lru_cache(maxsize=SIGNATURES_KEPT)(self._check)

    def v1_head(self, authorization: str | None) -> tuple[str, Callable[[bytes], None]]:
        """Check everything that can be checked before the body is read: that some user has the key.

        Returns:
            The key, and a check of ``Authorization: <key>:<signature>`` against the body, whose SHA-256
            digest is signed.

        Raises:
            Refusal: 401; so does the check.
        """
        key, _, signature = (authorization or "").partition(":")
        try:
            raw = bytes.fromhex(signature)
        except ValueError:
            raise _unauthenticated("the signature is not hexadecimal") from None
        self._public(key)
        return key, lambda body: self._verify(key, raw, hashlib.sha256(body).digest())

    def v2_head(self, method: str, target: str, headers: Mapping[str, str]) -> tuple[str, Callable[[bytes], None]]:
        """Check ``Signature-Input`` and ``Signature``, which cover method, target, time and ``Content-Digest``.

        Returns:
            The key, and a check of the body against ``Content-Digest``.

        Raises:
            Refusal: 401; so does the check.
        """
        digest = headers.get("content-digest", "")
        parameters = headers.get("signature-input", "").removeprefix("encord-sig=")
        match = _PARAMETERS.fullmatch(parameters)
        if match is None:
            raise _unauthenticated("Signature-Input is missing, or does not cover the request")
        signature = headers.get("signature", "")
        try:
            raw = base64.b64decode(signature.removeprefix("encord-sig=:").removesuffix(":"), validate=True)
        except (binascii.Error, ValueError):
            raise _unauthenticated("the signature is not base64") from None
        lines = (
            f'"@method": {method}',
            f'"@request-target": {target}',
            f'"content-digest": {digest}',
            f'"@signature-params": {parameters}',
        )
        self._verify(match[2], raw, "\n".join(lines).encode("latin-1", "replace"))
        if abs(self._now() - int(match[1])) > MAX_AGE:
            raise _unauthenticated("the request was signed too long ago, or by a clock that is wrong")

        def check(body: bytes) -> None:
            if digest != f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode('ascii')}:":
                raise _unauthenticated("Content-Digest is missing, or is not the digest of the body")

        return match[2], check

    def bearer(self, token: str) -> tuple[str, Callable[[bytes], None]]:
        """Check a bearer token, which signs nothing of the request.

        Returns:
            The name that the platform keeps in its place, and a check that accepts every body.

        Raises:
            Refusal: 401, no user has the token.
        """
        key = token_id(token)
        if not self._known(key):
            raise _unauthenticated("no user has this token")
        return key, lambda body: None

    def _public(self, key: str) -> Ed25519PublicKey:
        public = self._keys.get(key)
        if public is None:
            if not self._known(key):
                raise _unauthenticated("no user has this key")
            public = self._keys[key] = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key))
        return public

    def _check(self, key: str, signature: bytes, message: bytes) -> None:
        public = self._public(key)
        try:
            public.verify(signature, message)
        except InvalidSignature:
            raise _unauthenticated("the signature does not match the request") from None


def token_id(token: str) -> str:
    """Return the name that the platform keeps in place of a bearer token."""
    return f"bearer {hashlib.sha256(token.encode('utf-8', 'replace')).hexdigest()}"


def _unauthenticated(why: str) -> Refusal:
    return Refusal(401, f"Not authenticated: {why}.")
