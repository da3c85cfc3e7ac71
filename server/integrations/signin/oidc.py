"""Any OpenID provider, by its issuer: the code flow of OpenID Connect Core 1.0, section 3.1, with PKCE and nonce."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from server.integrations.signin.discovery import Issuer
from server.integrations.signin.idtoken import check
from server.integrations.signin.provider import Attempt, ProviderError, Stranger
from server.integrations.signin.tokens import Client, authorization_url, fetch, subject, text, trade
from server.kit.outgoing import Outgoing

GOOGLE = "https://accounts.google.com"


class Oidc:
    def __init__(
        self,
        http: Outgoing,
        issuer: Issuer,
        client: Client,
        *,
        key: str,
        title: str,
        more: Mapping[str, str] | None = None,
    ) -> None:
        """more: further parameters of the authorization request."""
        self.key = key
        self.title = title
        self.authority = issuer.url
        self._http = http
        self._issuer = issuer
        self._client = client
        self._more = dict(more or {})

    async def address(self, attempt: Attempt) -> str:
        metadata = await self._issuer.metadata()
        more = {"scope": "openid profile email", "nonce": attempt.nonce, **self._more}
        return authorization_url(metadata.authorization_endpoint, self._client, attempt, **more)

    async def identify(self, attempt: Attempt, code: str, issuer: str | None) -> Stranger:
        metadata = await self._issuer.metadata()
        # RFC 9207, section 2.4: before the code goes anywhere, it must be this provider's
        if issuer is None and metadata.names_issuer:
            raise ProviderError("the answer names no issuer, though this provider names itself")
        if issuer is not None and not hmac.compare_digest(issuer.encode(errors="replace"), self._issuer.url.encode()):
            raise ProviderError("the answer is of another issuer")
        client = replace(self._client, basic=metadata.basic)
        tokens = await trade(self._http, metadata.token_endpoint, client, attempt, code)
        access_token = text(tokens, "access_token")
        claims = await check(
            self._issuer,
            client.id,
            text(tokens, "id_token", 16 * 1024),
            nonce=attempt.nonce,
            access_token=access_token,
        )
        who = subject(claims, "sub")
        if not text(claims, "email") and metadata.userinfo_endpoint:
            more = await fetch(self._http, metadata.userinfo_endpoint, access_token)
            # section 5.3.2: an answer about somebody else must not be used
            if not isinstance(more, dict) or more.get("sub") != claims["sub"]:
                raise ProviderError("the provider's user information is about somebody else")
            claims = {**more, **claims}
        return _stranger(who, claims)


def _stranger(who: str, claims: dict[str, Any]) -> Stranger:
    return Stranger(
        subject=who,
        email=text(claims, "email"),
        # some write it as text (Amazon Cognito); absent is not verified, as with Microsoft, whose users type the claim
        email_verified=str(claims.get("email_verified")) in {"True", "true"},
        username=text(claims, "preferred_username"),
        name=text(claims, "name"),
    )
