"""Declared routes: what a feature says about its addresses, from which the wrapper and the document are made."""

from __future__ import annotations

import enum
import inspect
import re
import typing
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

import msgspec
from aiohttp import web

from server.kit.problems import Problem

Handler = Callable[..., Awaitable[Any]]
H = TypeVar("H", bound=Handler)

_PATH_PARAMETER = re.compile(r"\{([a-z_]+)\}")


class Access(enum.Enum):
    """Who may call a route."""

    OPEN = "open"  # a token is not even looked at: the way to get one, or back to one
    ANYONE = "anyone"  # a token may be sent, and is then checked
    USER = "user"


@dataclass(frozen=True, slots=True)
class Route:
    """One declaration, with its handler's annotations taken apart."""

    method: str
    path: str
    handler: Handler
    tag: str
    access: Access
    status: int
    summary: str
    description: str
    errors: tuple[type[Problem], ...]
    etag: bool
    permission: str | None
    scope: str | None
    step_up: bool
    limits: str
    idempotent: bool
    if_match: bool | str  # "required": a request without it is refused
    audit: str | None
    other_tokens: str
    file_body: tuple[str, ...]
    file_result: tuple[str, ...]
    ranges: bool
    example_body: Any
    example_result: Any
    takes_call: bool
    body: type[msgspec.Struct] | None
    query: type[msgspec.Struct] | None
    path_parameters: dict[str, type]
    result: Any  # a type that msgspec encodes, None for no content, web.StreamResponse for what is sent as it is


class Routes:
    """The routes of one feature. `tag` groups them in the document."""

    def __init__(self, tag: str, description: str = "") -> None:
        self.tag = tag
        self.description = description
        self.routes: list[Route] = []

    def get(self, path: str, **options: Any) -> Callable[[H], H]:
        return self._route("GET", path, **options)

    def post(self, path: str, **options: Any) -> Callable[[H], H]:
        return self._route("POST", path, **options)

    def put(self, path: str, **options: Any) -> Callable[[H], H]:
        return self._route("PUT", path, **options)

    def patch(self, path: str, **options: Any) -> Callable[[H], H]:
        return self._route("PATCH", path, **options)

    def delete(self, path: str, **options: Any) -> Callable[[H], H]:
        return self._route("DELETE", path, **options)

    def head(self, path: str, **options: Any) -> Callable[[H], H]:
        """For protocols that ask by HEAD alone; where there is a GET, HEAD is answered by it."""
        return self._route("HEAD", path, **options)

    def options(self, path: str, **options: Any) -> Callable[[H], H]:
        """What is no preflight of a browser: those are answered before."""
        return self._route("OPTIONS", path, **options)

    def _route(
        self,
        method: str,
        path: str,
        *,
        access: Access,
        status: int | None = None,
        summary: str = "",
        errors: Sequence[type[Problem]] = (),
        etag: bool = False,
        permission: str | None = None,
        keys: bool = True,
        step_up: bool = False,
        limits: str = "",
        idempotent: bool = False,
        if_match: bool | str = False,
        audit: str | None = None,
        other_tokens: str = "",
        file_body: Sequence[str] = (),
        file_result: Sequence[str] = (),
        ranges: bool = False,
        example_body: Any = None,
        example_result: Any = None,
    ) -> Callable[[H], H]:
        """What the wrapper does for the route, and the document says of it.

        status: 200, or 204 when the handler returns None. etag: answer If-None-Match (GET only).
        permission: what a role of the caller has to allow, as `users.ban`.
        keys: whether API keys of the scope `<tag>:read` or `<tag>:write` may call.
        step_up: the person must have shown a password or another factor in the last minutes; API keys cannot.
        limits: the class of rate limits, body sizes and time-outs: `auth`, `refresh`, `upload`, `none`
        (`classes.py`); empty: `read` for GET, `write` for the rest.
        idempotent: takes Idempotency-Key; all that the handler writes is then one transaction with the stored answer.
        if_match: takes If-Match (`required`: refuses its absence); the service calls `call.if_match.check(version)`.
        audit: the security event that is recorded in the transaction of what the route has done, with `call.note`.
        other_tokens: bearers that begin so are no tokens of accounts: the handler judges them, and there is no caller.
        file_body: media types of a body that the handler reads itself. file_result: of an answer that it sends itself.
        ranges: the handler sends a part when Range asks for one, as 206 or 416.
        """
        if (permission is not None or step_up or idempotent or audit) and access is not Access.USER:
            raise TypeError(f"{method} {path}: permission, step_up, idempotent and audit need access=Access.USER")

        def declare(handler: H) -> H:
            hints = typing.get_type_hints(handler, include_extras=True)
            names = list(inspect.signature(handler).parameters)
            where = f"{method} {path} ({handler.__qualname__})"
            if "return" not in hints:
                raise TypeError(f"{where} has no return annotation")
            result = hints["return"]
            result = None if result is type(None) else result
            in_path = _PATH_PARAMETER.findall(path)
            if (rest := set(names) - {"call", "body", "query"}) != set(in_path):
                raise TypeError(f"{where}: path has {sorted(in_path)}, the handler takes {sorted(rest)}")
            kinds = {name: hints.get(name) for name in in_path}
            for name, kind in kinds.items():
                if kind not in (UUID, int, str):
                    raise TypeError(f"{where}: path parameter {name} must be UUID, int or str")
            for name in ("body", "query"):
                kind = hints.get(name)
                if name in names and not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
                    raise TypeError(f"{where}: {name} must be annotated with a msgspec.Struct")
            if (idempotent or audit) and sends_itself(result):
                raise TypeError(f"{where}: idempotent and audit need a result, not a response")
            if sends_itself(result) and (status or 200) < 300 and not file_result:
                raise TypeError(f"{where}: what the handler sends itself needs file_result")
            doc = inspect.getdoc(handler) or ""
            self.routes.append(
                Route(
                    method=method,
                    path=path,
                    handler=handler,
                    tag=self.tag,
                    access=access,
                    status=status or (204 if result is None else 200),
                    summary=summary or doc.partition("\n")[0],
                    description=doc,
                    errors=tuple(errors),
                    etag=etag,
                    permission=permission,
                    scope=f"{self.tag}:{'read' if method == 'GET' else 'write'}" if keys and not step_up else None,
                    step_up=step_up,
                    limits=limits or ("read" if method == "GET" else "write"),
                    idempotent=idempotent,
                    if_match=if_match,
                    audit=audit,
                    other_tokens=other_tokens,
                    file_body=tuple(file_body),
                    file_result=tuple(file_result),
                    ranges=ranges,
                    example_body=example_body,
                    example_result=example_result,
                    takes_call="call" in names,
                    body=hints.get("body"),
                    query=hints.get("query"),
                    path_parameters=typing.cast(dict[str, type], kinds),
                    result=result,
                )
            )
            return handler

        return declare


def sends_itself(result: Any) -> bool:
    """Whether a result annotation is an aiohttp response, sent as it is."""
    return isinstance(result, type) and issubclass(result, web.StreamResponse)
