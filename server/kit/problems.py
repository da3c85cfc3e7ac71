"""Errors as RFC 9457 problem details: small classes with a status and a stable code.

A feature raises subclasses of Problem; the kit renders them. `code` is what programs compare, `detail` is a sentence
for people, and further members are the keyword arguments of the constructor.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

import msgspec

CONTENT_TYPE = "application/problem+json"


class Problem(Exception):
    """An answer that is not the one the caller hoped for."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"
    title: ClassVar[str] = "The server failed"

    def __init__(self, detail: str, **extra: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.extra = extra
        self.headers: dict[str, str] = {}


class BadRequest(Problem):
    status = 400
    code = "bad_request"
    title = "The request cannot be understood"


class MalformedBody(BadRequest):
    code = "malformed_body"
    title = "The body is not well-formed JSON"


class BadIdempotencyKey(BadRequest):
    """As of draft-ietf-httpapi-idempotency-key-header: a string of 1 to 128 visible characters, quoted or not."""

    code = "bad_idempotency_key"
    title = "The Idempotency-Key is not one"


class BadCursor(BadRequest):
    code = "bad_cursor"
    title = "The cursor is not one that this server gave"


class Unauthorized(Problem):
    status = 401
    code = "unauthorized"
    title = "A valid access token is needed"

    def __init__(self, detail: str = "Send an access token as Authorization: Bearer …", **extra: Any) -> None:
        super().__init__(detail, **extra)
        self.headers["WWW-Authenticate"] = "Bearer"


class Forbidden(Problem):
    status = 403
    code = "forbidden"
    title = "The caller may not do this"


class StepUpRequired(Forbidden):
    """Show a password or another factor at `POST /api/v1/auth/step-up`, then repeat the request with the new token."""

    code = "step_up_required"
    title = "The person must show again who he is"


class CrossSite(Forbidden):
    """What changes something is taken from pages of this site alone while a cookie stands for the caller."""

    code = "cross_site"
    title = "A page of another site may not do this"


class NotFound(Problem):
    status = 404
    code = "not_found"
    title = "There is nothing here"


class MethodNotAllowed(Problem):
    status = 405
    code = "method_not_allowed"
    title = "This address does not take that method"


class RequestTimeout(Problem):
    status = 408
    code = "request_timeout"
    title = "The body did not arrive in time"


class Conflict(Problem):
    status = 409
    code = "conflict"
    title = "This contradicts what is already there"


class IdempotencyInProgress(Conflict):
    """Repeat it in a moment: the answer will then be there."""

    code = "idempotency_in_progress"
    title = "The same request is still at work"

    def __init__(self, detail: str, retry_after: float = 1.0, **extra: Any) -> None:
        super().__init__(detail, **extra)
        self.headers["Retry-After"] = str(max(1, -int(-retry_after // 1)))


class PreconditionFailed(Problem):
    """Somebody else was quicker: read it again."""

    status = 412
    code = "precondition_failed"
    title = "It has been changed since it was read"


class BodyTooLarge(Problem):
    status = 413
    code = "body_too_large"
    title = "The body is too large"


class UnsupportedMediaType(Problem):
    status = 415
    code = "unsupported_media_type"
    title = "The body is of a type that is not taken here"


class Invalid(Problem):
    """Well-formed, but not what the route declares. `errors` lists {in, path, message}."""

    status = 422
    code = "invalid_request"
    title = "The request does not fit what this route takes"

    @classmethod
    def at(cls, path: str, message: str, where: str = "body") -> Invalid:
        """One field is wrong. path: a JSON path such as $.username, or the name of a parameter."""
        return cls(f"{path}: {message}", errors=[{"in": where, "path": path, "message": message}])

    @classmethod
    def from_msgspec(cls, error: msgspec.ValidationError, where: str) -> Invalid:
        message, _, path = str(error).rpartition(" - at `")
        if message:
            path = path.removesuffix("`")
        else:
            message, path = str(error), "$"
        if (missing := _MISSING.search(message)) is not None:
            path = f"{path}.{missing.group(1)}"
        if where == "query":
            path = path.removeprefix("$").lstrip(".") or "query"
        return cls.at(path, message, where)


class IdempotencyKeyReused(Invalid):
    """A key belongs to one request. Take a new one for each."""

    code = "idempotency_key_reused"
    title = "The Idempotency-Key belongs to another request"


class PreconditionRequired(Problem):
    status = 428
    code = "precondition_required"
    title = "This takes If-Match"


_MISSING = re.compile(r"missing required field `([^`]+)`")


class TooManyRequests(Problem):
    status = 429
    code = "too_many_requests"
    title = "Too many requests"

    def __init__(self, detail: str, retry_after: float = 1.0, **extra: Any) -> None:
        super().__init__(detail, retry_after=round(retry_after, 3), **extra)
        self.headers["Retry-After"] = str(max(1, -int(-retry_after // 1)))


class Internal(Problem):
    status = 500


class Unavailable(Problem):
    status = 503
    code = "unavailable"
    title = "A part that this needs is not available right now"

    def __init__(self, detail: str, retry_after: float = 2.0, **extra: Any) -> None:
        super().__init__(detail, **extra)
        self.headers["Retry-After"] = str(max(1, -int(-retry_after // 1)))


class ProblemBody(msgspec.Struct, omit_defaults=True):
    """The members that every problem has (RFC 9457, section 3.1, and two of ours). Some problems have more."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    request_id: str


def render(problem: Problem, request_id: str) -> bytes:
    """The body of the answer."""
    return msgspec.json.encode(
        {
            "type": f"/problems/{problem.code}",
            "title": problem.title,
            "status": problem.status,
            "code": problem.code,
            "detail": problem.detail,
            "request_id": request_id,
            **problem.extra,
        }
    )
