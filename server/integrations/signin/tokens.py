"""The token endpoint of OAuth 2.0 (RFC 6749, section 4.1.3), and reading what providers answer."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from server.integrations.signin.provider import Attempt, ProviderAway, ProviderError
from server.kit.outgoing import Answer, NoAnswer, Outgoing, OutgoingError

_MOST = 256 * 1024
_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Client:
    """What the provider knows us as. secret: empty for a public client. basic: sent in the header, not the form."""

    id: str
    secret: str = ""
    basic: bool = False

    def __repr__(self) -> str:
        return f"Client({self.id!r})"


def authorization_url(endpoint: str, client: Client, attempt: Attempt, **more: str) -> str:
    """RFC 6749, section 4.1.1, with PKCE (RFC 7636, section 4.3)."""
    query = {
        "response_type": "code",
        "client_id": client.id,
        "redirect_uri": attempt.redirect_uri,
        "state": attempt.state,
        "code_challenge": attempt.challenge,
        "code_challenge_method": "S256",
        **more,
    }
    return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query, quote_via=quote)}"


async def trade(http: Outgoing, endpoint: str, client: Client, attempt: Attempt, code: str) -> dict[str, Any]:
    """The token response for a code; it has an access token. Raises ProviderError."""
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": attempt.redirect_uri,
        "code_verifier": attempt.verifier,
    }
    headers = {"Accept": "application/json"}
    if client.secret and client.basic:
        pair = f"{quote(client.id, safe='')}:{quote(client.secret, safe='')}"  # RFC 6749, section 2.3.1
        headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
    else:
        form["client_id"] = client.id
        if client.secret:
            form["client_secret"] = client.secret
    answer = await _asked(http, "POST", endpoint, headers, form)
    said = _members(answer)
    # GitHub refuses with 200; the text of an error is the provider's and goes to the log alone.
    if "error" in said or answer.status != 200:
        raise ProviderError(f"{endpoint} refused the code with {answer.status}: {_plain(said.get('error'))}")
    if not text(said, "access_token") or text(said, "token_type").lower() not in {"bearer", ""}:
        raise ProviderError(f"{endpoint} gave no bearer token")
    return said


async def fetch(http: Outgoing, url: str, access_token: str = "", **headers: str) -> Any:
    """JSON of a provider, with or without a token. Raises ProviderError."""
    sent = {"Accept": "application/json", **headers}
    if access_token:
        sent["Authorization"] = f"Bearer {access_token}"
    answer = await _asked(http, "GET", url, sent, None)
    if answer.status != 200:
        raise ProviderError(f"{url.partition('?')[0]} answered {answer.status}")
    try:
        return answer.json()
    except NoAnswer as error:
        raise ProviderError(str(error)) from None


async def _asked(
    http: Outgoing, method: str, url: str, headers: Mapping[str, str], form: Mapping[str, str] | None
) -> Answer:
    try:
        answer = await http.request(
            method,
            url,
            headers=headers,
            form=form,
            max_bytes=_MOST,
            seconds=_SECONDS,
        )
    except OutgoingError as error:
        raise (ProviderAway if isinstance(error, NoAnswer) else ProviderError)(str(error)) from None
    if answer.status >= 500 or answer.status == 429:
        raise ProviderAway(f"{url.partition('?')[0]} answered {answer.status}")
    return answer


def _members(answer: Answer) -> dict[str, Any]:
    try:
        said = answer.json()
    except NoAnswer as error:
        raise ProviderError(str(error)) from None
    if not isinstance(said, dict):
        raise ProviderError(f"{answer.url.partition('?')[0]} answered JSON that is no object")
    return said


def text(said: object, name: str, most: int = 4096) -> str:
    """A member that is a text; empty when it is missing, of another kind or too long."""
    value = said.get(name) if isinstance(said, dict) else None
    return value if isinstance(value, str) and len(value) <= most else ""


def subject(said: object, name: str) -> str:
    """An account's lasting id, a text or a whole number. Raises ProviderError when there is none."""
    value = said.get(name) if isinstance(said, dict) else None
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return str(value)
    if isinstance(value, str) and 0 < len(value) <= 255 and value.isprintable():
        return value
    raise ProviderError("the provider named no account")


def _plain(value: object) -> str:
    return value[:100] if isinstance(value, str) and value.isprintable() else "no reason"
