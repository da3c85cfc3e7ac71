"""The providers that the settings switch on."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

import msgspec

from server.integrations.signin.discovery import Issuer
from server.integrations.signin.facebook import Facebook
from server.integrations.signin.github import GitHub
from server.integrations.signin.oidc import GOOGLE, Oidc
from server.integrations.signin.provider import Provider
from server.integrations.signin.tokens import Client
from server.integrations.signin.twitter import Twitter
from server.kit.outgoing import Outgoing
from server.settings import SettingError, Settings

_KEY = re.compile(r"[a-z](?:[a-z0-9-]{0,30}[a-z0-9])?")
_TAKEN = frozenset({"google", "facebook", "twitter", "github", "link", "links", "token"})


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One of OIDC_PROVIDERS."""

    key: str
    issuer: str
    client_id: str
    client_secret: str = ""
    name: str = ""


def configured(settings: Settings, http: Outgoing) -> dict[str, Provider]:
    """By key, in the order in which pages show them. Raises SettingError."""
    found: list[Provider] = []
    if client := _client(settings, "google"):
        # the choice of an account, so that who is signed in to several is asked
        more = {"prompt": "select_account"}
        found.append(Oidc(http, Issuer(http, GOOGLE), client, key="google", title="Google", more=more))
    if client := _client(settings, "facebook"):
        found.append(Facebook(http, client))
    if client := _client(settings, "twitter"):
        found.append(Twitter(http, Client(client.id, client.secret, basic=True)))
    if client := _client(settings, "github"):
        found.append(GitHub(http, client))
    for entry in _entries(settings):
        client = Client(entry.client_id, entry.client_secret, basic=True)
        title = entry.name or entry.key
        found.append(Oidc(http, Issuer(http, entry.issuer), client, key=entry.key, title=title))
    return {provider.key: provider for provider in found}


def _client(settings: Settings, name: str) -> Client | None:
    id, secret = getattr(settings, f"{name}_client_id"), getattr(settings, f"{name}_client_secret")
    if bool(id) != bool(secret):
        raise SettingError(f"{name.upper()}_CLIENT_ID and {name.upper()}_CLIENT_SECRET go together")
    return Client(id, secret) if id else None


def _entries(settings: Settings) -> list[_Entry]:
    entries = []
    if settings.oidc_issuer or settings.oidc_client_id:
        if not (settings.oidc_issuer and settings.oidc_client_id):
            raise SettingError("OIDC_ISSUER and OIDC_CLIENT_ID go together")
        entries.append(
            _Entry(
                "oidc",
                settings.oidc_issuer,
                settings.oidc_client_id,
                settings.oidc_client_secret,
                settings.oidc_name or "OpenID",
            )
        )
    if settings.oidc_providers:
        try:
            entries += msgspec.json.decode(settings.oidc_providers, type=list[_Entry])
        except (msgspec.MsgspecError, UnicodeEncodeError):
            shape = json.dumps([dict.fromkeys(("key", "issuer", "client_id", "client_secret", "name"), "…")])
            raise SettingError(f"OIDC_PROVIDERS is not JSON of this form: {shape}") from None
    _check(entries)
    return entries


def _check(entries: list[_Entry]) -> None:
    seen: Mapping[str, _Entry] = {entry.key: entry for entry in entries}
    if len(seen) != len(entries):
        raise SettingError("OIDC_PROVIDERS has a key twice; `oidc` is that of OIDC_ISSUER")
    for entry in entries:
        if _KEY.fullmatch(entry.key) is None or entry.key in _TAKEN:
            raise SettingError(f"OIDC_PROVIDERS has the key {entry.key!r}; a key has a to z, 0 to 9 and -")
        if not entry.issuer.startswith(("https://", "http://")) or "?" in entry.issuer or "#" in entry.issuer:
            raise SettingError(f"the issuer {entry.issuer!r} is none; it is written as https://id.example.org")
