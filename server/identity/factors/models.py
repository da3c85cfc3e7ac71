"""What the routes of second factors take and give."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta

from server.identity.models import PASSWORD_LIMIT

_Challenge = Annotated[str, Meta(min_length=1, max_length=2048, description="as the server gave it; good once")]
_Code = Annotated[
    str, Meta(min_length=1, max_length=64, description="six digits of the authenticator app, or a recovery code")
]
_Base64 = Annotated[str, Meta(min_length=1, max_length=16_384, description="base64url without padding")]
_CredentialId = Annotated[str, Meta(min_length=1, max_length=1400, description="base64url without padding")]
_Name = Annotated[str, Meta(min_length=1, max_length=100)]


class Nothing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An empty object."""


class CodeBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    code: Annotated[str, Meta(min_length=1, max_length=64, description="six digits of the authenticator app")]


# What browsers make of a credential (`PublicKeyCredential.toJSON()`) has members that come and go with their versions:
# those that are not named here are passed over.


class AttestationResponse(msgspec.Struct, frozen=True, kw_only=True):
    """AuthenticatorAttestationResponseJSON (WebAuthn level 3, section 5.2.1.1)."""

    clientDataJSON: _Base64
    attestationObject: _Base64
    transports: Annotated[list[Annotated[str, Meta(max_length=32)]], Meta(max_length=16)] = []


class Attestation(msgspec.Struct, frozen=True, kw_only=True):
    """RegistrationResponseJSON (section 5.1.8): what `navigator.credentials.create` made, by `toJSON()`."""

    id: _CredentialId
    rawId: _CredentialId
    type: Annotated[str, Meta(max_length=32)]
    response: AttestationResponse


class AssertionResponse(msgspec.Struct, frozen=True, kw_only=True):
    """AuthenticatorAssertionResponseJSON (section 5.2.2)."""

    clientDataJSON: _Base64
    authenticatorData: _Base64
    signature: _Base64
    userHandle: Annotated[str, Meta(max_length=128)] | None = None


class Assertion(msgspec.Struct, frozen=True, kw_only=True):
    """AuthenticationResponseJSON (section 5.1.8): what `navigator.credentials.get` gave, by `toJSON()`."""

    id: _CredentialId
    rawId: _CredentialId
    type: Annotated[str, Meta(max_length=32)]
    response: AssertionResponse


class AddPasskeyBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    challenge: _Challenge
    passkey: Attestation
    name: _Name | None = None


class RenamePasskeyBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: _Name


class PasskeyLoginBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    challenge: _Challenge
    passkey: Assertion


class ChallengeBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    challenge: _Challenge


class SecondFactorBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of code and passkey."""

    challenge: _Challenge
    code: _Code | None = None
    passkey: Assertion | None = None


class StepUpBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of password, code and passkey; the passkey with the challenge of its options."""

    password: Annotated[str, Meta(min_length=1, max_length=PASSWORD_LIMIT)] | None = None
    code: _Code | None = None
    passkey: Assertion | None = None
    challenge: _Challenge | None = None


class TotpSetup(msgspec.Struct, frozen=True, kw_only=True):
    """The secret in base32 for typing, the same as an address, and that as a picture (a data: address of an SVG).

    Nothing is on until a code of it has come back; expires_in: seconds left for that.
    """

    secret: str
    otpauth_uri: str
    qr: str
    expires_in: int


class RecoveryCodes(msgspec.Struct, frozen=True, kw_only=True):
    """Shown this once. Each signs in once in place of another second factor."""

    recovery_codes: list[str]


class PasskeyOptions(msgspec.Struct, frozen=True, kw_only=True):
    """public_key: what `PublicKeyCredential.parse…OptionsFromJSON` takes. challenge: sent back with the result."""

    challenge: str
    public_key: dict[str, Any]


class Passkey(msgspec.Struct, frozen=True, kw_only=True):
    """synced: copies of it may be on several devices of the owner. aaguid: the maker's model; zeros when not told."""

    id: UUID
    name: str
    synced: bool
    aaguid: UUID
    transports: list[str]
    created_at: datetime
    last_used_at: datetime | None


class Passkeys(msgspec.Struct, frozen=True, kw_only=True):
    items: list[Passkey]


class AddedPasskey(msgspec.Struct, frozen=True, kw_only=True):
    """recovery_codes: new ones when this is the account's first second factor; shown this once."""

    passkey: Passkey
    recovery_codes: list[str] | None


class Totp(msgspec.Struct, frozen=True, kw_only=True):
    enabled: bool
    since: datetime | None


class FactorList(msgspec.Struct, frozen=True, kw_only=True):
    """needed: what a sign-in by password has to be completed with, one of these; empty: nothing. password: whether the
    account has one."""

    needed: list[str]
    password: bool
    totp: Totp
    passkeys: list[Passkey]
    recovery_codes_left: int


class SteppedUp(msgspec.Struct, frozen=True, kw_only=True):
    """The access token that says so; the one before stays good for everything else until it expires."""

    access_token: str
    expires_in: int
    token_type: str = "Bearer"
