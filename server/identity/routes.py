"""Registering, signing in and out: /api/v1/auth/…, and the public keys."""

from __future__ import annotations

from server.identity.device import origin_of
from server.identity.errors import (
    BadRefreshToken,
    HashingBusy,
    RefreshTokenReused,
    RegistrationClosed,
    SecondFactorRequired,
    TooManyAttempts,
    UsernameTaken,
    WrongCredentials,
)
from server.identity.models import Jwks, LoginBody, Profile, RefreshBody, RegisterBody, SignedIn
from server.identity.service import Identity
from server.kit.http import Access, Call, Routes
from server.kit.problems import NotFound
from server.settings import Settings


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
        errors=(WrongCredentials, SecondFactorRequired, TooManyAttempts, HashingBusy),
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

    @api.get("/api/v1/auth/profile", access=Access.USER, summary="The signed-in account", errors=(NotFound,))
    async def profile(call: Call) -> Profile:
        return await identity.profile(call.user.user_id)

    @api.get("/.well-known/jwks.json", access=Access.OPEN, limits="none", summary="The keys that check access tokens")
    async def jwks(call: Call) -> Jwks:
        """A key set as of RFC 7517; the keys are Ed25519 (RFC 8037)."""
        call.headers["Cache-Control"] = "public, max-age=60"
        return Jwks(keys=identity.jwks())

    return api
