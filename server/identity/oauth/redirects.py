"""Where a sign-in may lead in the end: paths of our own pages, and the addresses of apps that the operator names."""

from __future__ import annotations

import re
from urllib.parse import urlencode, urlsplit

from server.kit.problems import Invalid
from server.settings import SettingError

SIGNIN_PAGE = "/account/signin"
_PATH = re.compile(r"/(?![/\\])[A-Za-z0-9._~!$&'()*+,;=:@%/?#-]*")
_NEVER = frozenset({"javascript", "data", "file", "blob", "vbscript", "about", "http"})


class Redirects:
    def __init__(self, apps: str) -> None:
        """apps: OAUTH_APP_REDIRECTS. Raises SettingError."""
        self._apps = frozenset(part.strip() for part in apps.split(",") if part.strip())
        for app in self._apps:
            try:
                parts = urlsplit(app)
                loopback = parts.scheme == "http" and parts.hostname in {"127.0.0.1", "::1"}  # RFC 8252, section 7.3
            except ValueError:
                parts, loopback = urlsplit(""), False
            if not parts.scheme or (parts.scheme in _NEVER and not loopback) or parts.fragment or not app.isascii():
                raise SettingError(
                    f"OAUTH_APP_REDIRECTS has {app!r}; it takes addresses such as org.example.app:/signin and "
                    "https://app.example.org/signin"
                )

    def check(self, redirect: str, challenge: str | None) -> None:
        """Raises Invalid."""
        if redirect in self._apps:  # to the letter (RFC 9700, section 4.1.3)
            if challenge is None:
                raise Invalid.at("$.code_challenge", "an app needs one: other apps may read the address it returns to")
            return
        if _PATH.fullmatch(redirect) is None:
            raise Invalid.at("$.redirect", "this is neither a path of our pages nor the address of a known app")
        if challenge is not None:
            raise Invalid.at("$.code_challenge", "this is for apps; a page is known by its browser's cookie")


def landing(redirect: str | None, *, app: bool, **said: str) -> str:
    """The address that the browser is sent to. What is said stands in the fragment of our page, which no server and no
    other site gets to see; in the query of an app's address, as apps are used to (RFC 8252)."""
    if app and redirect is not None:
        return f"{redirect}{'&' if '?' in redirect else '?'}{urlencode(said)}"
    return f"{SIGNIN_PAGE}#{urlencode(said)}"
