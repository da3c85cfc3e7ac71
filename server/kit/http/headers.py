"""Headers that every answer of some kind has: what browsers may do with it, and who may read it from another origin."""

from __future__ import annotations

from aiohttp import web
from multidict import CIMultiDict

from server.settings import SettingError

API_CSP = "default-src 'none'; frame-ancestors 'none'"
PAGE_CSP = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "connect-src 'self'; worker-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'self'"
)
_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
_REQUEST_HEADERS = (
    "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, X-Request-ID, traceparent, "
    # tus: how uploads go on
    "Tus-Resumable, Upload-Length, Upload-Defer-Length, Upload-Offset, Upload-Metadata, Upload-Concat, "
    "Upload-Checksum, X-HTTP-Method-Override, X-Requested-With"
)
_EXPOSED = (
    "ETag, Link, Location, Retry-After, X-Request-ID, RateLimit, RateLimit-Policy, Idempotency-Replayed, "
    "WWW-Authenticate, Tus-Resumable, Tus-Version, Tus-Extension, Tus-Max-Size, Tus-Checksum-Algorithm, "
    "Upload-Length, Upload-Defer-Length, Upload-Offset, Upload-Metadata, Upload-Concat, Upload-Expires"
)
_PERMISSIONS = "camera=(self), microphone=(self), display-capture=(self), payment=(self), geolocation=(), usb=()"
_MEDIA_HEADERS = "Range, If-None-Match, If-Modified-Since, Cache-Control"
_PREFLIGHT_AGE = "7200"


def api_headers(content_type: str) -> CIMultiDict[str]:
    headers = CIMultiDict(
        {
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": API_CSP,
            "X-Frame-Options": "DENY",
            "Referrer-Policy": "no-referrer",
        }
    )
    if content_type:
        headers["Content-Type"] = content_type
    return headers


def secure_page(response: web.StreamResponse) -> None:
    """What a page or file of ours gets, where its handler has not said otherwise."""
    headers = response.headers
    headers.setdefault("X-Content-Type-Options", "nosniff")
    headers.setdefault("Referrer-Policy", "strict-origin-when-cross-origin")
    if response.content_type == "text/html":
        headers.setdefault("Content-Security-Policy", PAGE_CSP)
        headers.setdefault("X-Frame-Options", "SAMEORIGIN")
        headers.setdefault("Permissions-Policy", _PERMISSIONS)
        headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")


class Cors:
    """Which other origins may call the API. Credentials are never allowed: tokens travel in Authorization."""

    def __init__(self, origins: str) -> None:
        """origins: comma-separated, as https://app.example.org; * for all. Raises SettingError."""
        self.origins = frozenset(part.strip().rstrip("/") for part in origins.split(",") if part.strip())
        for origin in self.origins:
            if origin != "*" and ("://" not in origin or origin.count("/") != 2):
                raise SettingError(f"CORS_ORIGINS has {origin!r}; it takes origins such as https://app.example.org")
        self.enabled = bool(self.origins)

    def allow(self, request: web.BaseRequest, headers: CIMultiDict[str]) -> None:
        """Add what the answer to this request needs."""
        headers.add("Vary", "Origin")
        origin = request.headers.get("Origin")
        if origin is not None and ("*" in self.origins or origin in self.origins):
            headers["Access-Control-Allow-Origin"] = origin
            headers["Access-Control-Expose-Headers"] = _EXPOSED

    def preflight(self, request: web.BaseRequest, *, media: bool) -> web.Response | None:
        """The answer to OPTIONS of the Fetch standard; None when the request is no preflight."""
        if request.method != "OPTIONS" or "Access-Control-Request-Method" not in request.headers:
            return None
        headers: CIMultiDict[str] = CIMultiDict()
        if media:
            headers["Access-Control-Allow-Origin"] = "*"
            headers["Access-Control-Allow-Methods"] = "GET, HEAD"
            headers["Access-Control-Allow-Headers"] = _MEDIA_HEADERS
            headers["Access-Control-Max-Age"] = _PREFLIGHT_AGE
        elif self.enabled:
            self.allow(request, headers)
            if "Access-Control-Allow-Origin" in headers:
                headers["Access-Control-Allow-Methods"] = _METHODS
                headers["Access-Control-Allow-Headers"] = _REQUEST_HEADERS
                headers["Access-Control-Max-Age"] = _PREFLIGHT_AGE
        return web.Response(status=204, headers=headers)
