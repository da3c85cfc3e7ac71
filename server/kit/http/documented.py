"""What the document says of headers and of who may call: the parts that all operations share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from server.kit.http.cursors import has_field
from server.kit.http.routes import Access, Route

TAG = r"(W/)?\"[!#-~]*\""
HEADERS: dict[str, Any] = {
    "X-Request-ID": {
        "description": "The id of this request in the logs: the one that was sent, or a new one.",
        "schema": {"type": "string", "maxLength": 128},
    },
    "RateLimit-Policy": {
        "description": "The limit that counts for this caller and this class of routes: its name, `q` requests in `w` "
        "seconds. Absent where there is none.",
        "schema": {"type": "string", "examples": ['"read";q=1200;w=60']},
    },
    "RateLimit": {
        "description": "What is left of it: `r` requests right now; after `t` seconds all are there again, or one is "
        "when none is left.",
        "schema": {"type": "string", "examples": ['"read";r=1199;t=1']},
    },
    "Retry-After": {
        "description": "Seconds after which the next request is taken.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "ETag": {
        "description": "A strong tag of this answer, for If-None-Match. Before the dot stands the version, which is "
        "what If-Match compares; after it a digest of all that is shown.",
        "schema": {"type": "string", "pattern": f"^{TAG}$", "examples": ['"3.9f86d081884c7d65"']},
    },
    "Idempotency-Replayed": {
        "description": "`true`: this is the stored answer to an earlier request with the same key.",
        "schema": {"type": "string", "enum": ["true"]},
    },
    "Location": {"description": "Where to go on.", "schema": {"type": "string"}},
    "Accept-Ranges": {"description": "Range is taken.", "schema": {"type": "string", "enum": ["bytes"]}},
    "Content-Range": {
        "description": "Which part this is, of how many bytes; after a 416 the size alone.",
        "schema": {"type": "string", "pattern": r"^bytes ([0-9]+-[0-9]+|\*)/[0-9]+$"},
    },
    "WWW-Authenticate": {
        "description": "The scheme that is asked for (RFC 6750).",
        "schema": {"type": "string", "examples": ["Bearer"]},
    },
}
PARAMETERS: dict[str, Any] = {
    "Idempotency-Key": {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "A name of your choice for this request, such as a UUID. Sent again with the same key it is not "
        "done again: you get the first answer. Kept for a day.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 128, "pattern": r"^[!#-\[\]-~]{1,128}$"},
        "example": "8e03978e-40d5-43dd-bc93-6894a57f9324",
    },
    "If-Match": {
        "name": "If-Match",
        "in": "header",
        "description": "The ETag of what you have read: what somebody changed since is then not overwritten (412).",
        "schema": {"type": "string", "pattern": rf"^(\*|{TAG}(, {TAG})*)$"},
        "example": '"3.9f86d081884c7d65"',
    },
    "Range": {
        "name": "Range",
        "in": "header",
        "description": "One part, to go on after a break (RFC 9110, section 14). What is not understood is left out.",
        "schema": {"type": "string"},
        "example": "bytes=0-1023",
    },
    "If-None-Match": {
        "name": "If-None-Match",
        "in": "header",
        "description": "The ETag of what you have: 304 when it is still the same. What is none means no condition.",
        "schema": {"type": "string"},
        "example": '"3.9f86d081884c7d65"',
    },
}


def security_schemes(routes: Iterable[Route]) -> dict[str, Any]:
    scopes = sorted({route.scope for route in routes if route.scope is not None and route.access is not Access.OPEN})
    return {
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "The `access_token` that signing in gives. It is good for minutes; refresh it.",
        },
        "apiKey": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "sfk_…",
            "description": "An API key, for programs: good for the routes of its scopes, `<tag>:read` or `:write`.",
            "x-scopes": scopes,
        },
    }


def security(route: Route) -> list[dict[str, list[str]]]:
    if route.access is Access.OPEN:
        return []
    ways: list[dict[str, list[str]]] = [{"bearer": []}]
    if route.scope is not None:
        ways.append({"apiKey": [route.scope]})
    return ways if route.access is Access.USER else [{}, *ways]


def demands(route: Route) -> dict[str, Any]:
    """What programs can read of a route's demands."""
    said: dict[str, Any] = {}
    if route.access is not Access.OPEN:
        said["x-scopes"] = [] if route.scope is None else [route.scope]
    if route.permission is not None:
        said["x-permission"] = route.permission
    if route.step_up:
        said["x-step-up"] = True
    if route.audit is not None:
        said["x-audit"] = route.audit
    return said


def demands_in_words(route: Route) -> Sequence[str]:
    words = []
    if route.permission is not None:
        words.append(f"Needs the permission `{route.permission}`.")
    if route.step_up:
        words.append(
            "Asks for a password or another factor that was shown in the last minutes; else 403 `step_up_required`: "
            "`POST /api/v1/auth/step-up`, then repeat it."
        )
    if route.audit is not None:
        words.append(f"Leaves `{route.audit}` in the audit log.")
    return words


def header_parameters(route: Route) -> Iterable[dict[str, Any]]:
    if route.idempotent:
        yield PARAMETERS["Idempotency-Key"]
    if route.if_match == "required":
        yield {**PARAMETERS["If-Match"], "required": True}
    elif route.if_match:
        yield PARAMETERS["If-Match"]
    if route.etag:
        yield PARAMETERS["If-None-Match"]
    if route.ranges:
        yield PARAMETERS["Range"]


def headers_of_success(route: Route) -> list[str]:
    versioned = has_field(route.result, "version") or has_field(route.result, "updated_at")
    names = ["X-Request-ID"]
    if route.etag or (route.if_match and versioned):
        names.append("ETag")
    if route.idempotent:
        names.append("Idempotency-Replayed")
    if 300 <= route.status < 400:
        names.append("Location")
    if route.ranges:
        names.append("Accept-Ranges")
    return names


def refer(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
