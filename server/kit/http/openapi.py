"""The OpenAPI 3.1 document, made from the declarations alone."""

from __future__ import annotations

import http
import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from server.kit.http.classes import NONE, UPLOAD
from server.kit.http.crosssite import SAFE
from server.kit.http.cursors import has_field
from server.kit.http.documented import (
    HEADERS,
    demands,
    demands_in_words,
    header_parameters,
    headers_of_success,
    refer,
    security,
    security_schemes,
)
from server.kit.http.examples import example_of
from server.kit.http.routes import Access, Route, Routes, sends_itself
from server.kit.http.schemas import REFERENCE, Schemas, name_formats
from server.kit.problems import (
    CONTENT_TYPE,
    BadCursor,
    BadIdempotencyKey,
    BadRequest,
    BodyTooLarge,
    CrossSite,
    Forbidden,
    IdempotencyInProgress,
    IdempotencyKeyReused,
    Internal,
    Invalid,
    MalformedBody,
    NotFound,
    PreconditionFailed,
    PreconditionRequired,
    Problem,
    RequestTimeout,
    StepUpRequired,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    UnsupportedMediaType,
)

_HEADERS_OF_PROBLEMS = {
    "401": ("WWW-Authenticate",),
    "416": ("Content-Range",),
    "429": ("RateLimit-Policy", "RateLimit", "Retry-After"),
    "503": ("Retry-After",),
}


def document(routes: Sequence[Routes], *, title: str, version: str) -> dict[str, Any]:
    """routes: all features'. Raises ValueError when two routes are the same."""
    declared = [route for group in routes for route in group.routes]
    schemas = Schemas(declared)
    paths: dict[str, dict[str, Any]] = {}
    for route in declared:
        methods = paths.setdefault(route.path, {})
        if route.method.lower() in methods:
            raise ValueError(f"{route.method} {route.path} is declared twice")
        methods[route.method.lower()] = _operation(route, schemas.of)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version},
        "servers": [{"url": "/"}],  # wherever the document was read: by name, by address, behind a proxy
        "tags": _tags(routes),
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "headers": HEADERS,
            "securitySchemes": security_schemes(declared),
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
        implied += [Forbidden]  # a key without the scope, a role without the permission
    if route.method not in SAFE:
        implied += [CrossSite]
    if route.step_up:
        implied += [StepUpRequired]
    if route.idempotent:
        implied += [BadIdempotencyKey, IdempotencyInProgress, IdempotencyKeyReused]
    if route.if_match:
        implied += [PreconditionFailed]
    if route.if_match == "required":
        implied += [PreconditionRequired]
    if has_field(route.query, "cursor") and has_field(route.result, "next_cursor"):
        implied += [BadCursor]
    if route.limits != NONE:
        implied += [TooManyRequests]
    return list(dict.fromkeys([*route.errors, *implied]))


def _tags(routes: Sequence[Routes]) -> list[dict[str, str]]:
    tags: dict[str, str] = {}
    for group in routes:
        tags[group.tag] = tags.get(group.tag) or group.description
    return [{"name": name, **({"description": text} if text else {})} for name, text in tags.items()]


def _operation(route: Route, schema_of: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": _operation_id(route),
        "tags": [route.tag],
        "summary": route.summary,
        "responses": _responses(route, schema_of),
        "x-limits": route.limits,
    }
    about = [route.description] if route.description and route.description != route.summary else []
    if words := [*about, *demands_in_words(route)]:
        operation["description"] = "\n\n".join(words)
    operation.update(demands(route))
    if parameters := [*_path_parameters(route), *_query_parameters(route), *header_parameters(route)]:
        operation["parameters"] = parameters
    if route.body is not None:
        media = _media(route.body, route.example_body, schema_of)
        required = any(field.required for field in msgspec.structs.fields(route.body))
        operation["requestBody"] = {"required": required, "content": {"application/json": media}}
    if route.file_body:
        # JSON Schema says nothing of bytes: a media type alone means them (OpenAPI 3.1, section 4.8.14.3)
        operation["requestBody"] = {"required": True, "content": {kind: {} for kind in route.file_body}}
    operation["security"] = security(route)
    return operation


def _media(kind: Any, example: Any, schema_of: dict[str, Any]) -> dict[str, Any]:
    media: dict[str, Any] = {"schema": schema_of[repr(kind)]}
    shown = example_of(kind) if example is None else msgspec.to_builtins(example)
    if shown is not msgspec.UNSET:
        media["example"] = shown
    return media


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
        found, components = msgspec.json.schema_components([field.type], ref_template=REFERENCE)
        schema = dict(found[0])
        name_formats(msgspec.inspect.type_info(field.type), schema)
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
        success["content"] = {"application/json": _media(route.result, route.example_result, schema_of)}
    if route.file_result:
        success["content"] = {kind: {} for kind in route.file_result}
    limits = [] if route.limits == NONE else ["RateLimit-Policy", "RateLimit"]
    success["headers"] = refer(*headers_of_success(route), *limits)
    responses = {str(route.status): success}
    if route.ranges:
        headers = refer(*headers_of_success(route), "Content-Range", *limits)
        responses["206"] = {**success, "description": "The part that Range asks for", "headers": headers}
    if route.etag:
        responses["304"] = {
            "description": "Not changed since the ETag in If-None-Match",
            "headers": refer("X-Request-ID", "ETag", *limits),
        }
    by_status: dict[int, list[type[Problem]]] = {}
    for problem in problems_of(route):
        by_status.setdefault(problem.status, []).append(problem)
    for status, problems in sorted(by_status.items()):
        responses[str(status)] = _problem_response(status, problems)
    for code, names in _HEADERS_OF_PROBLEMS.items():
        if code in responses:
            responses[code]["headers"].update(refer(*names))
    return responses


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
        "headers": refer("X-Request-ID"),
        "content": {CONTENT_TYPE: {"schema": {"$ref": REFERENCE.format(name="ProblemBody")}, "examples": examples}},
    }
