"""GitHub, Facebook and X as far as signing in with them goes, and an OpenID provider that lies as it is told.

Each checks what the real one checks: the client and its secret in the place where it belongs, the redirect address, the
code (once), PKCE. What is not right is an error as the real one words it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import jwt
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric import rsa

CLIENT_ID = "client-1"
CLIENT_SECRET = "s3cret"


@dataclass
class Grant:
    """A person has said yes."""

    redirect_uri: str
    challenge: str
    nonce: str
    who: dict[str, Any]


class Fake:
    """What all have in common. Use as an async context manager."""

    def __init__(self) -> None:
        self.app = web.Application()
        self.server = TestServer(self.app, host="127.0.0.1")
        self.grants: dict[str, Grant] = {}
        self.tokens: dict[str, dict[str, Any]] = {}
        self.asked: list[str] = []
        self.down = False

    async def __aenter__(self) -> Any:
        @web.middleware
        async def seen(request: web.Request, handler: Any) -> web.StreamResponse:
            self.asked.append(request.path)
            if self.down:
                return web.Response(status=503, text="<html>We are down for maintenance</html>")
            answer: web.StreamResponse = await handler(request)
            return answer

        self.app.middlewares.append(seen)
        await self.server.start_server()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.server.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    @property
    def place(self) -> str:
        """For OUTGOING_ALLOWED."""
        return f"127.0.0.1:{self.server.port}"

    def consent(self, address: str, who: Mapping[str, Any]) -> str:
        """The person at this authorization URL says yes: the code."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        assert query["response_type"] == "code"
        assert query["client_id"] == CLIENT_ID
        assert query["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(8)
        self.grants[code] = Grant(query["redirect_uri"], query["code_challenge"], query.get("nonce", ""), dict(who))
        return code

    def trade(self, form: Mapping[str, Any]) -> Grant | None:
        """The grant of a token request, if everything about it is right; good once."""
        grant = self.grants.pop(str(form.get("code")), None)
        digest = hashlib.sha256(str(form.get("code_verifier", "")).encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        right = (
            grant is not None
            and form.get("grant_type") == "authorization_code"
            and form.get("redirect_uri") == grant.redirect_uri
            and challenge == grant.challenge
        )
        return grant if right else None

    def token_for(self, who: dict[str, Any]) -> str:
        token = secrets.token_urlsafe(16)
        self.tokens[token] = who
        return token

    def bearer(self, request: web.Request) -> dict[str, Any] | None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        return self.tokens.get(token) if scheme == "Bearer" else None


def in_form(form: Mapping[str, Any]) -> bool:
    return form.get("client_id") == CLIENT_ID and form.get("client_secret") == CLIENT_SECRET


def in_header(request: web.Request) -> bool:
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    if scheme != "Basic":
        return False
    id, _, secret = base64.b64decode(value).decode().partition(":")
    return (unquote(id), unquote(secret)) == (CLIENT_ID, CLIENT_SECRET)


class FakeGitHub(Fake):
    """docs.github.com: Authorizing OAuth apps; errors of the token endpoint come with status 200."""

    def __init__(self) -> None:
        super().__init__()
        self.app.router.add_post("/login/oauth/access_token", self._token)
        self.app.router.add_get("/user", self._user)
        self.app.router.add_get("/user/emails", self._emails)

    async def _token(self, request: web.Request) -> web.Response:
        form = await request.post()
        if request.headers.get("Accept") != "application/json":
            return web.Response(text="access_token=not-asked-for-json&token_type=bearer")
        if not in_form(form):
            return web.json_response({"error": "incorrect_client_credentials", "error_description": "…"})
        grant = self.trade(form)
        if grant is None:
            return web.json_response({"error": "bad_verification_code", "error_description": "…"})
        token = self.token_for(grant.who)
        return web.json_response({"access_token": token, "scope": "read:user,user:email", "token_type": "bearer"})

    async def _user(self, request: web.Request) -> web.Response:
        who = self.bearer(request)
        if who is None or not request.headers.get("User-Agent"):
            return web.json_response({"message": "Bad credentials"}, status=401)
        return web.json_response({"id": who["id"], "login": who["login"], "name": who.get("name"), "email": None})

    async def _emails(self, request: web.Request) -> web.Response:
        who = self.bearer(request)
        if who is None:
            return web.json_response({"message": "Requires authentication"}, status=401)
        return web.json_response(who["emails"])


class FakeFacebook(Fake):
    """developers.facebook.com: Manually build a login flow; Graph API with `appsecret_proof` required."""

    def __init__(self) -> None:
        super().__init__()
        self.app.router.add_post("/{version:v[0-9.]+}/oauth/access_token", self._token)
        self.app.router.add_get("/{version:v[0-9.]+}/me", self._me)

    async def _token(self, request: web.Request) -> web.Response:
        form = await request.post()
        grant = self.trade(form) if in_form(form) else None
        if grant is None:
            return self._error("This authorization code has been used.", 100)
        token = self.token_for(grant.who)
        return web.json_response({"access_token": token, "token_type": "bearer", "expires_in": 5183944})

    async def _me(self, request: web.Request) -> web.Response:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        who = self.bearer(request)
        proof = hmac.new(CLIENT_SECRET.encode(), token.encode(), hashlib.sha256).hexdigest()
        if who is None or request.query.get("appsecret_proof") != proof:
            return self._error("Invalid appsecret_proof provided in the API argument", 100)
        wanted = request.query["fields"].split(",")
        return web.json_response({name: who[name] for name in wanted if name in who})

    def _error(self, message: str, code: int) -> web.Response:
        said = {"message": message, "type": "OAuthException", "code": code, "fbtrace_id": "A"}
        return web.json_response({"error": said}, status=400)


class FakeTwitter(Fake):
    """docs.x.com: OAuth 2.0 authorization code flow with PKCE, for a confidential client."""

    def __init__(self) -> None:
        super().__init__()
        self.app.router.add_post("/2/oauth2/token", self._token)
        self.app.router.add_get("/2/users/me", self._me)

    async def _token(self, request: web.Request) -> web.Response:
        form = await request.post()
        if not in_header(request):
            return web.json_response(
                {"error": "unauthorized_client", "error_description": "Missing valid authorization header"}, status=401
            )
        grant = self.trade(form)
        if grant is None:
            return web.json_response({"error": "invalid_request", "error_description": "Value passed…"}, status=400)
        token = self.token_for(grant.who)
        said = {"token_type": "bearer", "expires_in": 7200, "access_token": token, "scope": "users.read tweet.read"}
        return web.json_response(said)

    async def _me(self, request: web.Request) -> web.Response:
        who = self.bearer(request)
        if who is None:
            return web.json_response({"title": "Unauthorized", "type": "about:blank", "status": 401}, status=401)
        return web.json_response({"data": {name: who[name] for name in ("id", "name", "username")}})


def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@dataclass
class Lies:
    """What a FakeIssuer does otherwise. claims: put over the right ones, None leaves one out. sign: makes the token of
    the claims. metadata: put over the right ones."""

    claims: dict[str, Any] = field(default_factory=dict)
    sign: Callable[[dict[str, Any]], str] | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    userinfo: dict[str, Any] | None = None
    no_id_token: bool = False


class FakeIssuer(Fake):
    """An OpenID provider, honest unless told otherwise; its wire form is Google's."""

    def __init__(self, signer: rsa.RSAPrivateKey) -> None:
        super().__init__()
        self.lies = Lies()
        self.signer = signer
        self.kid = "k1"
        self.published: list[dict[str, Any]] | None = None
        self.app.router.add_get("/.well-known/openid-configuration", self._discovery)
        self.app.router.add_get("/jwks", self._jwks)
        self.app.router.add_post("/token", self._token)
        self.app.router.add_get("/userinfo", self._userinfo)

    def sign(self, claims: dict[str, Any], **header: Any) -> str:
        # jwt.encode would see to it that claims are of the right kind
        payload = json.dumps(claims).encode()
        return jwt.PyJWS().encode(payload, self.signer, algorithm="RS256", headers={"kid": self.kid, **header})

    def public(self) -> dict[str, Any]:
        made: dict[str, Any] = jwt.algorithms.RSAAlgorithm.to_jwk(self.signer.public_key(), as_dict=True)
        return {**made, "kid": self.kid, "alg": "RS256", "use": "sig"}

    async def _discovery(self, request: web.Request) -> web.Response:
        right = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/auth",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/jwks",
            "userinfo_endpoint": f"{self.url}/userinfo",
            "id_token_signing_alg_values_supported": ["RS256"],
            "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
            "code_challenge_methods_supported": ["plain", "S256"],
        }
        said = {**right, **self.lies.metadata}
        return web.json_response({name: value for name, value in said.items() if value is not None})

    async def _jwks(self, request: web.Request) -> web.Response:
        return web.json_response({"keys": [self.public()] if self.published is None else self.published})

    async def _token(self, request: web.Request) -> web.Response:
        form = await request.post()
        grant = self.trade(form) if in_form(form) or in_header(request) else None
        if grant is None:
            return web.json_response({"error": "invalid_grant"}, status=400)
        access = self.token_for(grant.who)
        half = hashlib.sha256(access.encode()).digest()[:16]
        right = {
            "iss": self.url,
            "aud": CLIENT_ID,
            "azp": CLIENT_ID,
            "iat": int(time.time()),
            "exp": int(time.time()) + 3599,
            "nonce": grant.nonce,
            "at_hash": base64.urlsafe_b64encode(half).decode().rstrip("="),
            **grant.who,
        }
        claims = {name: value for name, value in {**right, **self.lies.claims}.items() if value is not None}
        token = (self.lies.sign or self.sign)(claims)
        said = {"access_token": access, "expires_in": 3599, "scope": "openid email profile", "token_type": "Bearer"}
        return web.json_response(said if self.lies.no_id_token else {**said, "id_token": token})

    async def _userinfo(self, request: web.Request) -> web.Response:
        who = self.bearer(request)
        if who is None:
            return web.Response(status=401)
        return web.json_response(who if self.lies.userinfo is None else self.lies.userinfo)
