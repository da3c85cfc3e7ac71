"""An authenticator and a browser's part of WebAuthn, in software (level 3, sections 6.1, 6.3 and 5.8.1).

It keeps its passkeys in memory, answers with attestation `none`, and lies when a test tells it to.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from dataclasses import dataclass, field
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

USER_PRESENT, USER_VERIFIED, BACKUP_ELIGIBLE, BACKED_UP, ATTESTED = 0x01, 0x04, 0x08, 0x10, 0x40
ES256, EDDSA, RS256 = -7, -8, -257

Key = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def plain(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@dataclass
class Credential:
    id: bytes
    key: Key
    rp_id: str
    user_handle: bytes
    count: int = 0


@dataclass
class Authenticator:
    """origin: the page it is used on. counts: whether its counter rises, or stays 0 as synced passkeys' do. keys: for
    its next passkeys, instead of new ones.

    What a test may set to lie: rp_id (signed instead of the page's), verified, present, cross_origin.
    """

    origin: str
    algorithm: int = ES256
    counts: bool = True
    verified: bool = True
    present: bool = True
    synced: bool = False
    rp_id: str | None = None
    cross_origin: bool = False
    credentials: list[Credential] = field(default_factory=list)
    keys: list[Key] = field(default_factory=list)

    def create(self, options: dict[str, Any]) -> dict[str, Any]:
        """What `navigator.credentials.create` makes of PublicKeyCredentialCreationOptionsJSON, by `toJSON()`."""
        excluded = {plain(known["id"]) for known in options.get("excludeCredentials", [])}
        if any(credential.id in excluded for credential in self.credentials):
            raise ValueError("InvalidStateError: it has a passkey of this account")
        assert self.algorithm in [offered["alg"] for offered in options["pubKeyCredParams"]]
        key = self.keys.pop() if self.keys else new_key(self.algorithm)
        credential = Credential(os.urandom(32), key, options["rp"]["id"], plain(options["user"]["id"]))
        self.credentials.append(credential)
        attested = bytes(16) + len(credential.id).to_bytes(2) + credential.id + cose(credential.key)
        data = self._data(credential, ATTESTED) + attested
        return {
            "id": base64url(credential.id),
            "rawId": base64url(credential.id),
            "type": "public-key",
            "authenticatorAttachment": "platform",
            "clientExtensionResults": {"credProps": {"rk": True}},
            "response": {
                "clientDataJSON": self._client_data("webauthn.create", options["challenge"]),
                "attestationObject": base64url(cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})),
                "authenticatorData": base64url(data),
                "publicKeyAlgorithm": self.algorithm,
                "transports": ["internal", "hybrid", "tomorrow's"],
            },
        }

    def get(self, options: dict[str, Any], credential: Credential | None = None) -> dict[str, Any]:
        """What `navigator.credentials.get` gives for PublicKeyCredentialRequestOptionsJSON, by `toJSON()`."""
        allowed = {plain(known["id"]) for known in options.get("allowCredentials", [])}
        if credential is None:
            usable = [c for c in self.credentials if c.rp_id == options["rpId"] and (not allowed or c.id in allowed)]
            if not usable:
                raise ValueError("NotAllowedError: no passkey for this")
            credential = usable[-1]
        if self.counts:
            credential.count += 1
        data = self._data(credential)
        client_data = self._client_data("webauthn.get", options["challenge"])
        return {
            "id": base64url(credential.id),
            "rawId": base64url(credential.id),
            "type": "public-key",
            "authenticatorAttachment": "platform",
            "clientExtensionResults": {},
            "response": {
                "clientDataJSON": client_data,
                "authenticatorData": base64url(data),
                "signature": base64url(sign(credential.key, data + hashlib.sha256(plain(client_data)).digest())),
                "userHandle": base64url(credential.user_handle),
            },
        }

    def _data(self, credential: Credential, flags: int = 0) -> bytes:
        """Section 6.1: without extensions."""
        flags |= USER_PRESENT * self.present | USER_VERIFIED * self.verified
        flags |= (BACKUP_ELIGIBLE | BACKED_UP) * self.synced
        rp_id = self.rp_id or credential.rp_id
        return hashlib.sha256(rp_id.encode()).digest() + bytes([flags]) + credential.count.to_bytes(4)

    def _client_data(self, kind: str, challenge: str) -> str:
        given = {"type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": self.cross_origin}
        return base64url(json.dumps(given).encode())


def new_key(algorithm: int) -> Key:
    if algorithm == ES256:
        return ec.generate_private_key(ec.SECP256R1())
    if algorithm == EDDSA:
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(65537, 2048)


def cose(key: Key) -> bytes:
    """The public key (RFC 9053, sections 7.1 and 7.2; RFC 8230, section 4)."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        numbers = key.public_key().public_numbers()
        return cbor2.dumps({1: 2, 3: ES256, -1: 1, -2: numbers.x.to_bytes(32), -3: numbers.y.to_bytes(32)})
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return cbor2.dumps({1: 1, 3: EDDSA, -1: 6, -2: key.public_key().public_bytes_raw()})
    public = key.public_key().public_numbers()
    return cbor2.dumps({1: 3, 3: RS256, -1: public.n.to_bytes(256), -2: public.e.to_bytes(3)})


def sign(key: Key, data: bytes) -> bytes:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(data, ec.ECDSA(SHA256()))
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(data)
    return key.sign(data, padding.PKCS1v15(), SHA256())
