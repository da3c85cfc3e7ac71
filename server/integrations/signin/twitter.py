"""Twitter (X): OAuth 2.0 with PKCE; who it is comes from its API version 2. It gives no e-mail address."""

from __future__ import annotations

from dataclasses import dataclass

from server.integrations.signin.provider import Attempt, ProviderError, Stranger
from server.integrations.signin.tokens import Client, authorization_url, fetch, subject, text, trade
from server.kit.outgoing import Outgoing


@dataclass(frozen=True, slots=True)
class Places:
    site: str = "https://x.com"
    api: str = "https://api.x.com"


class Twitter:
    key = "twitter"
    title = "X (Twitter)"
    authority = "https://twitter.com"

    def __init__(self, http: Outgoing, client: Client, places: Places | None = None) -> None:
        """client: with its secret sent in the header, the only way that X takes."""
        self._http = http
        self._client = client
        self._places = places or Places()

    async def address(self, attempt: Attempt) -> str:
        endpoint = f"{self._places.site}/i/oauth2/authorize"
        # users.read is not granted without tweet.read
        return authorization_url(endpoint, self._client, attempt, scope="users.read tweet.read")

    async def identify(self, attempt: Attempt, code: str, issuer: str | None) -> Stranger:
        endpoint = f"{self._places.api}/2/oauth2/token"
        token = text(await trade(self._http, endpoint, self._client, attempt, code), "access_token")
        answer = await fetch(self._http, f"{self._places.api}/2/users/me", token)
        user = answer.get("data") if isinstance(answer, dict) else None
        if not isinstance(user, dict):
            raise ProviderError("X answered without a user")
        return Stranger(subject=subject(user, "id"), username=text(user, "username"), name=text(user, "name"))
