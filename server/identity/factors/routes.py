"""Second factors over HTTP: /api/v1/auth/…"""

from __future__ import annotations

from uuid import UUID

from server.identity.device import origin_of
from server.identity.errors import HashingBusy, WrongCredentials
from server.identity.factors.errors import (
    BadChallenge,
    BadPasskey,
    CodesLocked,
    FactorConflict,
    FactorNeeded,
    LastWayIn,
    PasskeysUnavailable,
    WrongFactor,
    WrongProof,
)
from server.identity.factors.models import (
    AddedPasskey,
    AddPasskeyBody,
    ChallengeBody,
    CodeBody,
    FactorList,
    Nothing,
    Passkey,
    PasskeyLoginBody,
    PasskeyOptions,
    Passkeys,
    RecoveryCodes,
    RenamePasskeyBody,
    SecondFactorBody,
    SteppedUp,
    StepUpBody,
    TotpSetup,
)
from server.identity.factors.service import Factors
from server.identity.models import SignedIn
from server.identity.privacy.errors import AccountLeaving
from server.kit.http import Access, Call, Routes
from server.kit.problems import NotFound
from server.settings import Settings


def routes(factors: Factors, settings: Settings) -> Routes:
    api = Routes("accounts", "Accounts and sessions.")
    secure = settings.base_url.startswith("https://")

    # signing in

    @api.post(
        "/api/v1/auth/login/second-factor",
        access=Access.OPEN,
        summary="Complete a sign-in with a second factor",
        errors=(BadChallenge, WrongFactor, WrongCredentials, AccountLeaving, CodesLocked),
        limits="auth",
        example_body={"challenge": "sP1q0cXJ2o5mXb7LkZ0aWyIyMDI2LTAxLTMxIl0", "code": "123456"},
    )
    async def second_factor(call: Call, body: SecondFactorBody) -> SignedIn:
        """`challenge` comes with the problem `second_factor_required` of a sign-in, is good for five minutes, for five
        answers, and for one that is right. `code`: six digits of the authenticator app, or a recovery code."""
        return await factors.complete(body, origin_of(call, secure=secure))

    @api.post(
        "/api/v1/auth/login/second-factor/options",
        access=Access.OPEN,
        summary="How to ask the browser for a passkey as the second factor",
        errors=(BadChallenge, FactorConflict, PasskeysUnavailable),
        limits="refresh",
    )
    async def second_factor_options(body: ChallengeBody) -> PasskeyOptions:
        """For `navigator.credentials.get`; what comes of it goes to `login/second-factor` with the same challenge."""
        return await factors.second_factor_options(body.challenge)

    @api.post(
        "/api/v1/auth/login/passkey/options",
        access=Access.OPEN,
        summary="How to ask the browser for a passkey that signs in",
        errors=(PasskeysUnavailable,),
        limits="refresh",
    )
    async def login_options(body: Nothing) -> PasskeyOptions:
        """No name is asked for: the passkey says whose it is. Also for `mediation: "conditional"`."""
        return factors.sign_in_options()

    @api.post(
        "/api/v1/auth/login/passkey",
        access=Access.OPEN,
        summary="Sign in with a passkey alone",
        errors=(BadChallenge, WrongFactor, WrongCredentials, AccountLeaving),
        limits="refresh",
    )
    async def login(call: Call, body: PasskeyLoginBody) -> SignedIn:
        """The authenticator has checked who is there, so this counts as two factors."""
        return await factors.sign_in(body, origin_of(call, secure=secure))

    # step-up

    @api.post(
        "/api/v1/auth/step-up",
        access=Access.USER,
        keys=False,
        summary="Show again who is there",
        errors=(WrongProof, FactorNeeded, BadChallenge, CodesLocked, HashingBusy, NotFound),
        limits="auth",
        example_body={"password": "correct horse battery"},
    )
    async def step_up(call: Call, body: StepUpBody) -> SteppedUp:
        """For routes that answer `step_up_required`: with the new access token they work for some minutes. An account
        with second factors shows one of them; its password does not do."""
        return await factors.step_up(call.user, body, call.origin)

    @api.post(
        "/api/v1/auth/step-up/options",
        access=Access.USER,
        keys=False,
        summary="How to ask the browser for a passkey for a step-up",
        errors=(FactorConflict, PasskeysUnavailable),
    )
    async def step_up_options(call: Call, body: Nothing) -> PasskeyOptions:
        return await factors.step_up_options(call.user)

    # the authenticator app and recovery codes

    @api.get("/api/v1/auth/factors", access=Access.USER, keys=False, summary="The account's second factors")
    async def list_factors(call: Call) -> FactorList:
        return await factors.overview(call.user.user_id)

    @api.post(
        "/api/v1/auth/enable-2fa",
        access=Access.USER,
        keys=False,
        step_up=True,
        limits="auth",
        summary="Begin to add an authenticator app",
    )
    async def enable(call: Call, body: Nothing) -> TotpSetup:
        """A secret for the app, as text and as a QR code. Nothing changes before a code of it is confirmed; then it
        takes the place of the app that the account may have."""
        call.headers["Cache-Control"] = "no-store"
        return await factors.begin_totp(call.user)

    @api.post(
        "/api/v1/auth/enable-2fa/confirm",
        access=Access.USER,
        keys=False,
        summary="Add the authenticator app by its first code",
        errors=(FactorConflict, WrongProof, CodesLocked),
        limits="auth",
    )
    async def confirm(call: Call, body: CodeBody) -> RecoveryCodes:
        """From now on a sign-in by password needs a second factor. The recovery codes are shown this once; earlier
        ones are void."""
        call.headers["Cache-Control"] = "no-store"
        return await factors.confirm_totp(call.user, body.code, call.origin)

    @api.post(
        "/api/v1/auth/disable-2fa",
        access=Access.USER,
        keys=False,
        step_up=True,
        limits="auth",
        summary="Remove the authenticator app",
        errors=(FactorConflict,),
    )
    async def disable(call: Call, body: Nothing) -> None:
        """Passkeys stay, and are then the account's second factor."""
        await factors.disable_totp(call.user, call.origin)

    @api.post(
        "/api/v1/auth/recovery-codes",
        access=Access.USER,
        keys=False,
        step_up=True,
        limits="auth",
        summary="Make new recovery codes",
        errors=(FactorConflict,),
    )
    async def renew(call: Call, body: Nothing) -> RecoveryCodes:
        """Ten, shown this once; earlier ones are void."""
        call.headers["Cache-Control"] = "no-store"
        return await factors.renew_codes(call.user, call.origin)

    # passkeys

    @api.get("/api/v1/auth/passkeys", access=Access.USER, keys=False, summary="The account's passkeys")
    async def list_passkeys(call: Call) -> Passkeys:
        return Passkeys(items=await factors.passkeys.of(call.user.user_id))

    @api.post(
        "/api/v1/auth/passkeys/options",
        access=Access.USER,
        keys=False,
        step_up=True,
        summary="How to ask the browser to make a passkey",
        errors=(FactorConflict, PasskeysUnavailable, NotFound),
    )
    async def passkey_options(call: Call, body: Nothing) -> PasskeyOptions:
        """For `navigator.credentials.create`."""
        return await factors.passkeys.options(call.user)

    @api.post(
        "/api/v1/auth/passkeys",
        status=201,
        access=Access.USER,
        keys=False,
        step_up=True,
        limits="auth",
        summary="Add a passkey",
        errors=(BadChallenge, BadPasskey, FactorConflict),
    )
    async def add_passkey(call: Call, body: AddPasskeyBody) -> AddedPasskey:
        """It signs in without a password from now on, and a sign-in by password needs a second factor. With the
        account's first second factor come recovery codes, shown this once."""
        call.headers["Cache-Control"] = "no-store"
        return await factors.passkeys.add(call.user, body, call.origin)

    @api.patch(
        "/api/v1/auth/passkeys/{id}", access=Access.USER, keys=False, summary="Name a passkey", errors=(NotFound,)
    )
    async def rename_passkey(call: Call, id: UUID, body: RenamePasskeyBody) -> Passkey:
        return await factors.passkeys.rename(call.user.user_id, id, body.name)

    @api.delete(
        "/api/v1/auth/passkeys/{id}",
        access=Access.USER,
        keys=False,
        step_up=True,
        limits="auth",
        summary="Remove a passkey",
        errors=(NotFound, LastWayIn),
    )
    async def remove_passkey(call: Call, id: UUID) -> None:
        """Refused while it is the only way to sign in. What it has signed in stays so."""
        await factors.passkeys.remove(call.user.user_id, id, call.origin)

    @api.delete(
        "/api/v1/auth/password",
        access=Access.USER,
        keys=False,
        step_up=True,
        limits="auth",
        summary="Remove the password, so that passkeys are the only way in",
        errors=(NotFound, LastWayIn, FactorConflict),
    )
    async def remove_password(call: Call) -> None:
        """Refused to an account without a passkey, or an account elsewhere, that signs in; and before its address is
        verified. Resetting the password by mail sets a new one; the second factor is then asked for as ever."""
        await factors.remove_password(call.user, call.origin)

    return api
