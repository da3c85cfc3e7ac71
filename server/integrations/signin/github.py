"""GitHub: OAuth 2.0 with PKCE; who it is comes from its REST API, the address from /user/emails.

The address on the public profile is what a person chose to show. Only the list says which one is verified.
"""

from __future__ import annotations

from dataclasses import dataclass

from server.integrations.signin.provider import Attempt, Stranger
from server.integrations.signin.tokens import Client, authorization_url, fetch, subject, text, trade
from server.kit.outgoing import Outgoing


@dataclass(frozen=True, slots=True)
class Places:
    site: str = "https://github.com"
    api: str = "https://api.github.com"


class GitHub:
    key = "github"
    title = "GitHub"
    authority = "https://github.com"

    def __init__(self, http: Outgoing, client: Client, places: Places | None = None) -> None:
        self._http = http
        self._client = client
        self._places = places or Places()

    async def address(self, attempt: Attempt) -> str:
        endpoint = f"{self._places.site}/login/oauth/authorize"
        return authorization_url(endpoint, self._client, attempt, scope="read:user user:email", allow_signup="true")

    async def identify(self, attempt: Attempt, code: str, issuer: str | None) -> Stranger:
        tokens = await trade(self._http, f"{self._places.site}/login/oauth/access_token", self._client, attempt, code)
        token = text(tokens, "access_token")
        version = {"X-GitHub-Api-Version": "2022-11-28", "Accept": "application/vnd.github+json"}
        user = await fetch(self._http, f"{self._places.api}/user", token, **version)
        emails = await fetch(self._http, f"{self._places.api}/user/emails", token, **version)
        email, verified = _email(emails)
        return Stranger(
            subject=subject(user, "id"),
            email=email,
            email_verified=verified,
            username=text(user, "login"),
            name=text(user, "name"),
        )


def _email(emails: object) -> tuple[str, bool]:
    """The primary address, and whether GitHub has verified it."""
    for entry in emails if isinstance(emails, list) else []:
        if isinstance(entry, dict) and entry.get("primary") is True:
            return text(entry, "email"), entry.get("verified") is True
    return "", False
