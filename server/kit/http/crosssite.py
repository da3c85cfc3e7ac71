"""Requests that another site makes a browser send (cross-site request forgery).

The rule: what changes something and carries a cookie but no Authorization must not come from another site's page.
A browser adds cookies by itself, and says where the request comes from (Sec-Fetch-Site; older ones Origin); programs
say neither, and have no cookies but those that they mean to send. A page cannot set Authorization, Sec-Fetch-Site or
Origin for another site without CORS letting it.
"""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from server.kit.problems import CrossSite

SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_OWN = frozenset({"same-origin", "none"})  # none: typed, or a bookmark


class CrossSiteGuard:
    def __init__(self, public_url: str, origins: Collection[str]) -> None:
        """origins: other origins that are trusted as our own pages are; `*` trusts none."""
        public = urlsplit(public_url)
        own = {f"{public.scheme}://{public.netloc}".lower()} if public.netloc else set()
        self._public = public.netloc.lower()  # that name with another scheme is not us
        self._trusted = frozenset(origin.lower() for origin in origins if origin != "*") | own

    def check(self, request: web.BaseRequest) -> None:
        """Raises CrossSite."""
        headers = request.headers
        if request.method in SAFE or hdrs.COOKIE not in headers or hdrs.AUTHORIZATION in headers:
            return
        site, origin = headers.get("Sec-Fetch-Site"), headers.get(hdrs.ORIGIN)
        if site is None and origin is None:
            return
        if origin is not None and origin.lower() in self._trusted:
            return
        if site is not None:
            if site.lower() in _OWN:
                return
        elif (host := _netloc(origin or "")) == headers.get(hdrs.HOST, "").lower() and host != self._public:
            return
        raise CrossSite("This was sent by a page of another site, with a cookie of yours.")


def _netloc(origin: str) -> str:
    """The host and port of an origin; empty for `null` and for what is none."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""
