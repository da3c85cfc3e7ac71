"""The routes of the pages: `/`, `/watch/{id}`, `/videos`, `/studio` and so on, `/assets/…`, and the page for the rest.

Pages are the same for everybody (what differs comes from the API), so they are answered from memory. Every page
carries a content security policy that allows no inline script: text of users can never become code.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from aiohttp import web

from server.web.files import Bundle, StaticFile, load_bundle

log = logging.getLogger(__name__)

HERE = Path(__file__).parent
NODE_MODULES = HERE.parent.parent / "node_modules"

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "font-src 'self' data:; media-src 'self' blob:; worker-src 'self' blob:; connect-src 'self' ws: wss:; "
    "manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
)

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), display-capture=(), geolocation=()",
}
_CAPTURES = {"Permissions-Policy": "camera=(self), microphone=(self), display-capture=(self), geolocation=()"}
"""Of the page that goes live from the browser."""
_FOREVER = "public, max-age=31536000, immutable"
_ASK = "no-cache"

PAGES = {
    "/": "home",
    "/watch/{id}": "watch",
    "/studio": "studio",
    "/studio/videos": "library",
    "/videos": "videos",
    "/video/{id}": "video",
    "/docs": "docs",
    "/account": "account",
    "/admin": "admin",
    # where links of mails lead, and where a sign-in elsewhere comes back to
    **{f"/account/{name}": "landing" for name in ("verify", "reset", "email", "export", "restore", "signin")},
}

BUNDLE: web.AppKey[Bundle] = web.AppKey("web_bundle", Bundle)


def install_pages(app: web.Application, *, root: Path = HERE, node_modules: Path = NODE_MODULES) -> None:
    """Add the pages to `app`. Files are read at start-up, in a thread.

    root: folder with `pages/` and `assets/`; node_modules: where `npm ci --ignore-scripts` put the players.
    """

    async def load(app: web.Application) -> None:
        bundle = await asyncio.to_thread(load_bundle, root, node_modules)
        if bundle.missing:
            log.warning("pages: %s missing; run `npm ci --ignore-scripts`", ", ".join(bundle.missing))
        app[BUNDLE] = bundle

    app.on_startup.append(load)
    for path, name in PAGES.items():
        app.router.add_get(path, _page(name))
    for path in ("/watch", "/watch/"):
        app.router.add_get(path, not_found_page)
    app.router.add_get("/assets/{path:.+}", _asset)
    app.router.add_get("/favicon.ico", _favicon)


async def not_found_page(request: web.Request) -> web.StreamResponse:
    """The page for an address that is none, status 404. Needs the files that `install_pages` loads."""
    file = request.app[BUNDLE].pages["missing"]
    headers = {"Cache-Control": "no-store", "Content-Security-Policy": CONTENT_SECURITY_POLICY, **_HEADERS}
    return web.Response(status=404, body=file.body, headers=headers | {"Content-Type": file.content_type})


def _page(name: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    more = {"Content-Security-Policy": CONTENT_SECURITY_POLICY, **(_CAPTURES if name == "studio" else {})}

    async def page(request: web.Request) -> web.StreamResponse:
        return _answer(request, request.app[BUNDLE].pages[name], _ASK, more)

    return page


async def _asset(request: web.Request) -> web.StreamResponse:
    bundle = request.app[BUNDLE]
    path = request.match_info["path"]
    first, _, rest = path.partition("/")
    cache = _ASK
    if first == bundle.version:
        path, cache = rest, _FOREVER
    file = bundle.assets.get(path)
    if file is None and _looks_like_version(first):
        # a page of another release asks during a deploy: give it ours, but let nobody keep it under that name
        file, cache = bundle.assets.get(rest), "no-store"
    if file is None:
        text = f"There is no file {path!r} here."
        if path in bundle.missing:
            text = f"{path} comes from an npm package that is not installed: run `npm ci --ignore-scripts`."
        return web.Response(status=404, text=text, headers={"Cache-Control": _ASK, **_HEADERS})
    return _answer(request, file, cache)


async def _favicon(request: web.Request) -> web.StreamResponse:
    return _answer(request, request.app[BUNDLE].assets["icon.svg"], "public, max-age=86400")


def _looks_like_version(text: str) -> bool:
    return len(text) == 12 and all(c in "0123456789abcdef" for c in text)


def _answer(
    request: web.Request, file: StaticFile, cache: str, more: Mapping[str, str] = MappingProxyType({})
) -> web.Response:
    packed = file.gzip if "gzip" in request.headers.get("Accept-Encoding", "").lower() else None
    etag = f'"{file.etag}-gzip"' if packed is not None else f'"{file.etag}"'
    headers = {"ETag": etag, "Cache-Control": cache, **_HEADERS, **more}
    if file.gzip is not None:
        headers["Vary"] = "Accept-Encoding"
    if _matches(request.headers.get("If-None-Match"), etag):
        return web.Response(status=304, headers=headers)
    headers["Content-Type"] = file.content_type
    if packed is not None:
        headers["Content-Encoding"] = "gzip"
    return web.Response(body=packed if packed is not None else file.body, headers=headers)


def _matches(header: str | None, etag: str) -> bool:
    """RFC 9110 section 13.1.2: a list of entity tags or `*`, compared weakly."""
    if header is None:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in header.split(",")]
    return etag in tags or tags == ["*"]
