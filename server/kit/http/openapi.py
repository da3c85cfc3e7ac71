"""The OpenAPI 3.1 document, made from the declarations alone."""

from __future__ import annotations

import http
import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from server.kit.http.classes import NONE, UPLOAD
from server.kit.http.routes import Access, Route, Routes, sends_itself
from server.kit.problems import (
    CONTENT_TYPE,
    BadRequest,
    BodyTooLarge,
    Forbidden,
    Internal,
    Invalid,
    MalformedBody,
    NotFound,
    Problem,
    ProblemBody,
    RequestTimeout,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    UnsupportedMediaType,
)

_REFERENCE = "#/components/schemas/{name}"
_SECURITY: dict[Access, list[dict[str, list[str]]]] = {
    Access.OPEN: [],
    Access.ANYONE: [{}, {"bearer": []}],
    Access.USER: [{"bearer": []}],
}

_HEADERS: dict[str, Any] = {
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
}


def document(routes: Sequence[Routes], *, title: str, version: str) -> dict[str, Any]:
    """routes: all features'. Raises ValueError when two routes are the same."""
    declared = [route for group in routes for route in group.routes]
    types = list(_types(declared))
    schemas, components = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    schema_of = dict(zip(map(repr, types), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in declared:
        methods = paths.setdefault(route.path, {})
        if route.method.lower() in methods:
            raise ValueError(f"{route.method} {route.path} is declared twice")
        methods[route.method.lower()] = _operation(route, schema_of, components)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version},
        "servers": [{"url": "/"}],  # wherever the document was read: by name, by address, behind a proxy
        "tags": _tags(routes),
        "paths": paths,
        "components": {
            "schemas": components,
            "headers": _HEADERS,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def problems_of(route: Route) -> list[type[Problem]]:
    """Every problem a route can answer with: what it declares, and what its shape implies."""
    # What is no HTTP, or names no host, is refused everywhere; and everywhere there may be too many connections, or no
    # database to ask.
    implied: list[type[Problem]] = [Internal, BadRequest, Unavailable]
    if route.body is not None:
        implied += [MalformedBody, BodyTooLarge, RequestTimeout, UnsupportedMediaType, Invalid]
    if route.limits == UPLOAD:
        implied += [MalformedBody, BodyTooLarge, RequestTimeout]
    if route.query is not None:
        implied += [Invalid]
    if route.path_parameters:
        implied += [NotFound]
    if route.access is not Access.OPEN:  # also where anyone may call, a token that is sent has to be good
        implied += [Unauthorized]
    if route.permission is not None or (route.access is Access.USER and route.scope is None):
        implied += [Forbidden]
    if route.limits != NONE:
        implied += [TooManyRequests]
    return list(dict.fromkeys([*route.errors, *implied]))


def _types(routes: Iterable[Route]) -> Iterable[Any]:
    seen = {repr(ProblemBody)}
    yield ProblemBody
    for route in routes:
        for kind in (route.body, route.result):
            if kind is not None and not sends_itself(kind) and repr(kind) not in seen:
                seen.add(repr(kind))
                yield kind


def _tags(routes: Sequence[Routes]) -> list[dict[str, str]]:
    tags: dict[str, str] = {}
    for group in routes:
        tags[group.tag] = tags.get(group.tag) or group.description
    return [{"name": name, **({"description": text} if text else {})} for name, text in tags.items()]


def _operation(route: Route, schema_of: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": _operation_id(route),
        "tags": [route.tag],
        "summary": route.summary,
        "responses": _responses(route, schema_of),
        "x-limits": route.limits,
    }
    if route.description and route.description != route.summary:
        operation["description"] = route.description
    if parameters := [*_path_parameters(route), *_query_parameters(route)]:
        operation["parameters"] = parameters
    if route.body is not None:
        media: dict[str, Any] = {"schema": schema_of[repr(route.body)]}
        if route.example_body is not None:
            media["example"] = msgspec.to_builtins(route.example_body)
        required = any(field.required for field in msgspec.structs.fields(route.body))
        operation["requestBody"] = {"required": required, "content": {"application/json": media}}
    operation["security"] = _SECURITY[route.access]
    return operation


def _operation_id(route: Route) -> str:
    words = re.findall(r"[A-Za-z0-9]+", route.path.removeprefix("/api/v1"))
    return "_".join([route.method.lower(), *words])


def _path_parameters(route: Route) -> Iterable[dict[str, Any]]:
    for name, kind in route.path_parameters.items():
        yield {"name": name, "in": "path", "required": True, "schema": msgspec.json.schema(kind)}


def _query_parameters(route: Route) -> Iterable[dict[str, Any]]:
    if route.query is None:
        return
    for field in msgspec.structs.fields(route.query):
        found, components = msgspec.json.schema_components([field.type], ref_template=_REFERENCE)
        schema = dict(found[0])
        while "$ref" in schema:  # an enumeration: written out where it is used
            schema = dict(components[schema["$ref"].rpartition("/")[2]])
        if field.default is not msgspec.NODEFAULT and field.default is not None:
            schema["default"] = msgspec.to_builtins(field.default)
        parameter: dict[str, Any] = {"name": field.encode_name, "in": "query", "schema": schema}
        if field.required:
            parameter["required"] = True
        if description := schema.pop("description", ""):
            parameter["description"] = description
        yield parameter


def _responses(route: Route, schema_of: dict[str, Any]) -> dict[str, Any]:
    phrase = http.HTTPStatus(route.status).phrase
    success: dict[str, Any] = {"description": phrase}
    if route.result is not None and not sends_itself(route.result):
        media: dict[str, Any] = {"schema": schema_of[repr(route.result)]}
        if route.example_result is not None:
            media["example"] = msgspec.to_builtins(route.example_result)
        success["content"] = {"application/json": media}
    if route.limits != NONE:
        success["headers"] = _refer("RateLimit-Policy", "RateLimit")
    responses = {str(route.status): success}
    if route.etag:
        responses["304"] = {"description": "Not changed since the ETag in If-None-Match"}
    by_status: dict[int, list[type[Problem]]] = {}
    for problem in problems_of(route):
        by_status.setdefault(problem.status, []).append(problem)
    for status, problems in sorted(by_status.items()):
        responses[str(status)] = _problem_response(status, problems)
    if "429" in responses:
        responses["429"]["headers"] = _refer("RateLimit-Policy", "RateLimit", "Retry-After")
    return responses


def _refer(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _problem_response(status: int, problems: Sequence[type[Problem]]) -> dict[str, Any]:
    examples = {
        problem.code: {
            "summary": problem.title,
            "value": {
                "type": f"/problems/{problem.code}",
                "title": problem.title,
                "status": status,
                "code": problem.code,
                "detail": problem.title + ".",
                "request_id": "5f0c9a1b2d3e-1",
            },
        }
        for problem in problems
    }
    return {
        "description": "; ".join(f"`{problem.code}`: {problem.title}" for problem in problems),
        "content": {CONTENT_TYPE: {"schema": {"$ref": _REFERENCE.format(name="ProblemBody")}, "examples": examples}},
    }
