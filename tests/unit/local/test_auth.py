"""Signatures: what they cover, and how long they are good."""

from __future__ import annotations

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from encord_agents.local.auth import MAX_AGE, Verifier
from encord_agents.local.trouble import Refusal

KEY = Ed25519PrivateKey.generate()
ID = KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
NOW = 1_700_000_000


def verifier(now: float = NOW) -> Verifier:
    return Verifier({ID}.__contains__, lambda: now)


def headers(method: str = "GET", target: str = "/v2/public/x?a=1", body: bytes = b"", at: int = NOW) -> dict[str, str]:
    digest = f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"
    covered = f'("@method" "@request-target" "content-digest");created={at};keyid="{ID}";alg="ed25519"'
    lines = (
        f'"@method": {method}\n"@request-target": {target}\n"content-digest": {digest}\n"@signature-params": {covered}'
    )
    signature = base64.b64encode(KEY.sign(lines.encode())).decode()
    return {
        "content-digest": digest,
        "signature-input": f"encord-sig={covered}",
        "signature": f"encord-sig=:{signature}:",
    }


def test_a_request_as_it_was_signed() -> None:
    """Both protocols."""
    verifier().v2_head("GET", "/v2/public/x?a=1", headers())[1](b"")
    verifier().v1_head(f"{ID}:{KEY.sign(hashlib.sha256(b'body').digest()).hex()}")[1](b"body")


@pytest.mark.parametrize("change", ["method", "target", "body", "time", "key", "signature", "nothing"])
def test_a_request_that_was_changed(change: str) -> None:
    """Method, target, body, time and key are covered: 401 if one is another, or if there is no signature at all."""
    given = headers()
    if change == "time":
        given["signature-input"] = given["signature-input"].replace(str(NOW), str(NOW + 1))
    if change == "key":
        given["signature-input"] = given["signature-input"].replace(ID, "0" * 64)
    if change == "signature":
        given["signature"] = "encord-sig=:?:"
    method = "POST" if change == "method" else "GET"
    target = "/v2/public/x?a=2" if change == "target" else "/v2/public/x?a=1"
    body = b"[]" if change == "body" else b""
    with pytest.raises(Refusal) as caught:
        verifier().v2_head(method, target, {} if change == "nothing" else given)[1](body)
    assert caught.value.status == 401


@pytest.mark.parametrize("authorization", [None, "", "{}", "{}:", "{}:zz", "{}:" + "00" * 64, "0" * 64 + ":00"])
def test_a_legacy_request_that_is_not_signed(authorization: str | None) -> None:
    """401."""
    with pytest.raises(Refusal) as caught:
        verifier().v1_head(authorization and authorization.format(ID))[1](b"body")
    assert caught.value.status == 401


@pytest.mark.parametrize(
    ("age", "good"), [(0, True), (MAX_AGE, True), (-MAX_AGE, True), (MAX_AGE + 1, False), (-MAX_AGE - 1, False)]
)
def test_a_signature_is_not_for_ever(age: float, good: bool) -> None:
    """A quarter of an hour, before and after: enough for all that the SDK's transport does with one signature."""
    given = headers()
    if good:
        verifier(NOW + age).v2_head("GET", "/v2/public/x?a=1", given)[1](b"")
        return
    with pytest.raises(Refusal, match="too long ago") as caught:
        verifier(NOW + age).v2_head("GET", "/v2/public/x?a=1", given)[1](b"")
    assert caught.value.status == 401


def test_a_signature_is_verified_once() -> None:
    """The same one for the same body is known to be right; for another body, or cut, it is verified and refused."""
    checked = verifier()
    right = f"{ID}:{KEY.sign(hashlib.sha256(b'body').digest()).hex()}"
    for _ in range(3):
        checked.v1_head(right)[1](b"body")
    for authorization, body in ((right, b"other"), (right[:-1] + f"{int(right[-1], 16) ^ 1:x}", b"body"), (right, b"")):
        for _ in range(2):
            with pytest.raises(Refusal):
                checked.v1_head(authorization)[1](body)
    assert checked._verify.cache_info().hits == 2
