"""The relying party of WebAuthn (level 3): which domain our passkeys belong to, what browsers are asked for, and the
check of what they answer. All checks run in a thread: signatures of RSA, and structures made by strangers.

Attestations are not asked for and statements of them not looked at: we trust a passkey because its owner, signed in,
added it, not for who made the authenticator. User verification is required everywhere, so a passkey is two factors in
itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, TypeVar
from urllib.parse import urlsplit
from uuid import UUID

import msgspec
from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import (
    base64url_to_bytes,
    bytes_to_base64url,
    encode_cbor,
    options_to_json_dict,
    parse_cbor,
    parse_client_data_json,
)
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    AuthenticatorTransport,
    CredentialDeviceType,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from server.identity.factors.errors import PasskeysUnavailable
from server.identity.factors.models import Assertion, Attestation
from server.identity.factors.store import PasskeyRow
from server.identity.factors.tickets import LIFE
from server.settings import Settings

_log = logging.getLogger(__name__)

_PUBLIC_KEY_LIMIT = 1200
"""Bytes of a COSE key: RSA of 8192 bits fits. Larger ones cost time whenever they are used."""
_CREDENTIAL_ID_LIMIT = 1023  # WebAuthn, section 5.8.3
_VERIFIED = UserVerificationRequirement.REQUIRED
_TRANSPORTS = frozenset(transport.value for transport in AuthenticatorTransport)

T = TypeVar("T")


class Refused(Exception):
    """What the browser sent does not hold. The text is for the log and for developers, not for deciding."""


@dataclass(frozen=True, slots=True)
class Registered:
    """A new credential. public_key: COSE. synced: its authenticator may copy it to other devices."""

    credential_id: bytes
    public_key: bytes
    sign_count: int
    aaguid: UUID
    transports: list[str]
    synced: bool


class RelyingParty:
    def __init__(self, settings: Settings, name: str = "Social Flow") -> None:
        self.name = name
        base = urlsplit(settings.base_url)
        self.id = settings.passkey_rp_id or (base.hostname or "")
        self._origins = [_origin(settings.base_url)]
        self._origins += [_origin(text) for text in settings.passkey_origins.split(",") if text.strip()]
        # Without PUBLIC_URL the port may be whichever was free, and browsers themselves tie the passkey to localhost.
        self._any_local_port = not settings.public_url

    def creation_options(
        self, challenge: bytes, user_id: UUID, username: str, display_name: str, known: Sequence[PasskeyRow]
    ) -> dict[str, Any]:
        """PublicKeyCredentialCreationOptionsJSON (section 5.1.9). known: what the account has already.

        Raises PasskeysUnavailable.
        """
        self._require()
        options = generate_registration_options(
            rp_id=self.id,
            rp_name=self.name,
            user_name=username,
            user_id=user_id.bytes,
            user_display_name=display_name or username,
            challenge=challenge,
            timeout=_milliseconds(),
            authenticator_selection=AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.REQUIRED, user_verification=_VERIFIED
            ),
            exclude_credentials=_descriptors(known),
        )
        return options_to_json_dict(options)

    def request_options(self, challenge: bytes, allowed: Sequence[PasskeyRow] = ()) -> dict[str, Any]:
        """PublicKeyCredentialRequestOptionsJSON (section 5.1.10). allowed: empty when anybody may be about to sign in.

        Raises PasskeysUnavailable.
        """
        self._require()
        options = generate_authentication_options(
            rp_id=self.id,
            challenge=challenge,
            timeout=_milliseconds(),
            allow_credentials=_descriptors(allowed),
            user_verification=_VERIFIED,
        )
        return options_to_json_dict(options)

    async def registered(self, answer: Attestation, challenge: bytes) -> Registered:
        """Section 7.1. Raises Refused."""
        return await _aside(lambda: self._registered(answer, challenge))

    async def asserted(self, answer: Assertion, challenge: bytes, passkey: PasskeyRow) -> int:
        """Section 7.2: the counter that the authenticator sent, which the caller compares. Raises Refused."""
        return await _aside(lambda: self._asserted(answer, challenge, passkey))

    def _require(self) -> None:
        try:
            ip_address(self.id)
        except ValueError:
            if self.id:
                return
        raise PasskeysUnavailable("Passkeys need a domain name: PUBLIC_URL has none.")

    def _registered(self, answer: Attestation, challenge: bytes) -> Registered:
        given = msgspec.to_builtins(answer)
        given["response"]["attestationObject"] = _without_statement(answer.response.attestationObject)
        made = verify_registration_response(
            credential=given,
            expected_challenge=challenge,
            expected_rp_id=self.id,
            expected_origin=self._expected(answer.response.clientDataJSON),
            require_user_verification=True,
        )
        if len(made.credential_public_key) > _PUBLIC_KEY_LIMIT or len(made.credential_id) > _CREDENTIAL_ID_LIMIT:
            raise Refused("the key or its id is too large")
        if made.credential_id != base64url_to_bytes(answer.rawId):
            raise Refused("the credential is not the one that the browser names")
        return Registered(
            credential_id=made.credential_id,
            public_key=made.credential_public_key,
            sign_count=made.sign_count,
            aaguid=UUID(made.aaguid),
            transports=[name for name in dict.fromkeys(answer.response.transports) if name in _TRANSPORTS],
            synced=made.credential_device_type is CredentialDeviceType.MULTI_DEVICE,
        )

    def _asserted(self, answer: Assertion, challenge: bytes, passkey: PasskeyRow) -> int:
        handle = answer.response.userHandle
        if handle is not None and base64url_to_bytes(handle) != passkey.user_id.bytes:
            raise Refused("the passkey says that it is another account's")
        done = verify_authentication_response(
            credential=msgspec.to_builtins(answer),
            expected_challenge=challenge,
            expected_rp_id=self.id,
            expected_origin=self._expected(answer.response.clientDataJSON),
            credential_public_key=passkey.public_key,
            credential_current_sign_count=0,  # compared where it is stored, so that two at once cannot both pass
            require_user_verification=True,
        )
        return done.new_sign_count

    def _expected(self, client_data: str) -> list[str]:
        """The origins that are ours. Raises Refused for an answer made in another site's frame."""
        plain = base64url_to_bytes(client_data)
        said = parse_client_data_json(plain)
        if said.cross_origin:
            raise Refused("the passkey was used inside another site's page")
        if self._any_local_port and isinstance(said.origin, str):
            given = urlsplit(said.origin)
            if given.hostname == "localhost" and said.origin == _origin(said.origin):
                return [*self._origins, said.origin]
        return self._origins


def credential_id(answer: Assertion) -> bytes:
    """Raises Refused."""
    try:
        return base64url_to_bytes(answer.rawId)
    except ValueError as error:
        raise Refused(str(error)) from None


async def _aside(check: Callable[[], T]) -> T:
    """In a thread; whatever a stranger's bytes make the library raise is a refusal."""
    try:
        return await asyncio.to_thread(check)
    except Refused:
        raise
    except Exception as error:
        _log.info("a passkey's answer was refused: %s: %s", type(error).__name__, str(error)[:200])
        raise Refused(str(error)) from None


def _without_statement(attestation: str) -> str:
    """The same attestation object as a client makes it that keeps the statement to itself (section 5.1.3, `none`)."""
    given = parse_cbor(base64url_to_bytes(attestation))
    if not isinstance(given, dict) or not isinstance(given.get("authData"), bytes):
        raise Refused("the attestation object is none")
    return bytes_to_base64url(encode_cbor({"fmt": "none", "attStmt": {}, "authData": given["authData"]}))


def _descriptors(passkeys: Sequence[PasskeyRow]) -> list[PublicKeyCredentialDescriptor]:
    return [
        PublicKeyCredentialDescriptor(
            id=passkey.credential_id,
            transports=[AuthenticatorTransport(name) for name in passkey.transports if name in _TRANSPORTS] or None,
        )
        for passkey in passkeys
    ]


def _origin(address: str) -> str:
    """Scheme, host and port, as browsers write them; what apps have instead (android:apk-key-hash:…) stays as it is."""
    text = address.strip()
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return text
    default = {"http": 80, "https": 443}[parts.scheme]
    port = "" if parts.port in (None, default) else f":{parts.port}"
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}{port}"


def _milliseconds() -> int:
    return int(LIFE.total_seconds() * 1000)
