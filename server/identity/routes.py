"""Registering, signing in and out: /api/v1/auth/…, and the public keys."""

from __future__ import annotations

from uuid import UUID

from server.identity.device import origin_of
from server.identity.errors import (
    BadLink,
    BadRefreshToken,
    EmailTaken,
    HashingBusy,
    NoSuchAccount,
    NoSuchSession,
    PasswordChangedMeanwhile,
    RefreshTokenReused,
    RegistrationClosed,
    SecondFactorRequired,
    TooManyAttempts,
    UsernameTaken,
    WrongCredentials,
    WrongPassword,
)
from server.identity.models import (
    AskResetBody,
    ChangeEmailBody,
    ChangePasswordBody,
    EndSessionsQuery,
    Jwks,
    LoginBody,
    MailedBody,
    RefreshBody,
    RegisterBody,
    ResetBody,
    SessionList,
    SignedIn,
)
from server.identity.privacy.errors import AccountLeaving
from server.identity.profile.models import Me
from server.identity.service import Identity
from server.kit.http import Access, Call, Routes
from server.kit.problems import NotFound, StepUpRequired
from server.settings import Settings

_EXAMPLE_TOKEN = "pTr3N2q0cVbC2iAqTn8yQm1gV5sXh7uLw9eKfJ4oRzY"


def routes(identity: Identity, settings: Settings) -> Routes:
    api = Routes("accounts", "Accounts and sessions.")
    secure = settings.base_url.startswith("https://")

    @api.post(
        "/api/v1/auth/register",
        status=201,
        access=Access.OPEN,
        limits="auth",
        summary="Make an account and sign in",
        errors=(UsernameTaken, RegistrationClosed, HashingBusy),
        example_body=RegisterBody(email="ada@example.org", username="ada", password="correct horse battery"),
    )
    async def register(call: Call, body: RegisterBody) -> SignedIn:
        """The username is public and unique. The address is not checked against others: it belongs to an account
        only once it has been verified, so the answer is the same whether or not it is known."""
        return await identity.register(body, origin_of(call, secure=secure))

    @api.post(
        "/api/v1/auth/login",
        access=Access.OPEN,
        limits="auth",
        summary="Sign in",
        errors=(WrongCredentials, SecondFactorRequired, AccountLeaving, TooManyAttempts, HashingBusy),
        example_body=LoginBody(email="ada", password="correct horse battery"),
    )
    async def login(call: Call, body: LoginBody) -> SignedIn:
        """`email` takes the username as well, which always works. An address leads to the account that has verified
        it; while none has, to the account with this address and password."""
        return await identity.login(body, origin_of(call, secure=secure))

    @api.post(
        "/api/v1/auth/refresh",
        access=Access.OPEN,
        limits="refresh",
        summary="Trade a refresh token for the next one and a new access token",
        errors=(BadRefreshToken, RefreshTokenReused),
    )
    async def refresh(call: Call, body: RefreshBody) -> SignedIn:
        """A refresh token is good once; using an old one again ends its session. For 10 s after its use, while the
        token given for it has not been used, it is taken once more: the answer may have been lost."""
        return await identity.refresh(body.refresh_token, call.origin)

    @api.post(
        "/api/v1/auth/logout",
        access=Access.OPEN,
        limits="refresh",
        summary="End the session of a refresh token",
    )
    async def logout(call: Call, body: RefreshBody) -> None:
        """Its access tokens are refused from now on: at once by this server, within two seconds by others of a fleet.
        A token that is not known has ended already; the answer is the same."""
        await identity.logout(body.refresh_token, call.origin)

    @api.get(
        "/api/v1/auth/profile", access=Access.USER, keys=False, summary="The signed-in account", errors=(NotFound,)
    )
    async def profile(call: Call) -> Me:
        return await identity.profile(call.user.user_id)

    @api.post(
        "/api/v1/auth/verify-email",
        access=Access.OPEN,
        limits="auth",
        summary="Verify an address by the link in a mail",
        errors=(BadLink, EmailTaken, NotFound),
        example_body=MailedBody(token=_EXAMPLE_TOKEN),
    )
    async def verify_email(call: Call, body: MailedBody) -> None:
        """The address is the account's own from now on; whoever else claimed it has no claim any more."""
        await identity.registration.verify(body.token, call.origin)

    @api.post(
        "/api/v1/auth/verify-email/send",
        access=Access.USER,
        keys=False,
        limits="auth",
        status=202,
        summary="Send the mail that verifies the address again",
        errors=(NoSuchAccount,),
    )
    async def send_verification(call: Call) -> None:
        """The link in an older mail is void. Nothing is sent for an address that is verified, nor when too many mails
        have gone to it in the last hour; the answer is the same."""
        await identity.registration.send_again(call.user.user_id)

    @api.post(
        "/api/v1/auth/reset-password",
        access=Access.OPEN,
        limits="auth",
        status=202,
        summary="Have a link sent that sets a new password",
        example_body=AskResetBody(email="ada@example.org"),
    )
    async def ask_reset(body: AskResetBody) -> None:
        """The answer is the same whether or not the address is known. It always works, also while too many wrong
        passwords make others wait."""
        await identity.recovery.ask(body.email)

    @api.post(
        "/api/v1/auth/reset-password/confirm",
        access=Access.OPEN,
        limits="auth",
        summary="Set a new password by the link in a mail",
        errors=(BadLink, EmailTaken, HashingBusy),
        example_body=ResetBody(token=_EXAMPLE_TOKEN, password="correct horse battery"),
    )
    async def reset(call: Call, body: ResetBody) -> None:
        """All sessions of the account end. Sign in afterwards; a second factor is still asked for."""
        await identity.recovery.confirm(body.token, body.password, origin_of(call, secure=secure))

    @api.post(
        "/api/v1/auth/change-password",
        access=Access.USER,
        keys=False,
        limits="auth",
        summary="Set another password",
        errors=(WrongPassword, PasswordChangedMeanwhile, StepUpRequired, NoSuchAccount, TooManyAttempts, HashingBusy),
        example_body=ChangePasswordBody(current_password="correct horse battery", password="a better horse battery"),
    )
    async def change_password(call: Call, body: ChangePasswordBody) -> None:
        """All other sessions of the account end. An account without a password shows another factor first."""
        await identity.changes.password(call.user, body, origin_of(call, secure=secure))

    @api.post(
        "/api/v1/auth/change-email",
        access=Access.USER,
        keys=False,
        step_up=True,
        limits="auth",
        status=202,
        summary="Have a link sent to the address that shall be the account's",
        errors=(NoSuchAccount,),
        example_body=ChangeEmailBody(email="ada@example.com"),
    )
    async def change_email(call: Call, body: ChangeEmailBody) -> None:
        """Until the link is followed the account keeps its address. The answer is the same whether or not the address
        has an owner."""
        await identity.changes.email(call.user, body.email)

    @api.post(
        "/api/v1/auth/change-email/confirm",
        access=Access.OPEN,
        limits="auth",
        summary="Take the new address by the link in a mail",
        errors=(BadLink, EmailTaken),
        example_body=MailedBody(token=_EXAMPLE_TOKEN),
    )
    async def confirm_email(call: Call, body: MailedBody) -> None:
        """The old address is told."""
        await identity.changes.confirm_email(body.token, call.origin)

    @api.get("/api/v1/auth/sessions", access=Access.USER, keys=False, summary="Where the account is signed in")
    async def sessions(call: Call) -> SessionList:
        """At most 200, last used first."""
        return await identity.devices.list(call.user)

    @api.delete(
        "/api/v1/auth/sessions/{id}",
        access=Access.USER,
        keys=False,
        summary="End one session",
        errors=(NoSuchSession,),
    )
    async def end_session(call: Call, id: UUID) -> None:
        """Its tokens are refused and its sockets are told within two seconds, on every server."""
        await identity.devices.end(call.user, id, call.origin)

    @api.delete("/api/v1/auth/sessions", access=Access.USER, keys=False, summary="End all other sessions")
    async def end_sessions(call: Call, query: EndSessionsQuery) -> None:
        """With `include_current` this one as well."""
        await identity.devices.end_all(call.user, call.origin, current=query.include_current)

    @api.get("/.well-known/jwks.json", access=Access.OPEN, limits="none", summary="The keys that check access tokens")
    async def jwks(call: Call) -> Jwks:
        """A key set as of RFC 7517; the keys are Ed25519 (RFC 8037)."""
        call.headers["Cache-Control"] = "public, max-age=60"
        return Jwks(keys=identity.jwks())

    return api
