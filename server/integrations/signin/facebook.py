"""Facebook: OAuth 2.0 with PKCE; who it is comes from the Graph API.

Calls carry `appsecret_proof`, without which a token stolen from another app could be used. Facebook does not say
whether an address has been verified, so it never counts as verified.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from urllib.parse import urlencode

from server.integrations.signin.provider import Attempt, Stranger
from server.integrations.signin.tokens import Client, authorization_url, fetch, subject, text, trade
from server.kit.outgoing import Outgoing

_VERSION = "v23.0"


@dataclass(frozen=True, slots=True)
class Places:
    site: str = "https://www.facebook.com"
    graph: str = "https://graph.facebook.com"


class Facebook:
    key = "facebook"
    title = "Facebook"
    authority = "https://www.facebook.com"

    def __init__(self, http: Outgoing, client: Client, places: Places | None = None) -> None:
        self._http = http
        self._client = client
        self._places = places or Places()

    async def address(self, attempt: Attempt) -> str:
        endpoint = f"{self._places.site}/{_VERSION}/dialog/oauth"
        return authorization_url(endpoint, self._client, attempt, scope="public_profile,email")

    async def identify(self, attempt: Attempt, code: str, issuer: str | None) -> Stranger:
        endpoint = f"{self._places.graph}/{_VERSION}/oauth/access_token"
        token = text(await trade(self._http, endpoint, self._client, attempt, code), "access_token")
        proof = hmac.new(self._client.secret.encode(), token.encode(), hashlib.sha256).hexdigest()
        query = urlencode({"fields": "id,name,email", "appsecret_proof": proof})
        user = await fetch(self._http, f"{self._places.graph}/{_VERSION}/me?{query}", token)
        return Stranger(subject=subject(user, "id"), email=text(user, "email"), name=text(user, "name"))
