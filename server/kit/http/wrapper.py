"""From a declared route to an aiohttp handler: everything that can be known beforehand is worked out here, once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import perf_counter, time
from typing import Any, cast

import msgspec
from aiohttp import hdrs, web

from server.kit import logs
from server.kit.audit import Audit
from server.kit.auth import Caller
from server.kit.http.call import Call
from server.kit.http.classes import RouteClass
from server.kit.http.crosssite import SAFE
from server.kit.http.cursors import has_field
from server.kit.http.edge import Edge
from server.kit.http.gate import Gate
from server.kit.http.headers import api_headers
from server.kit.http.idempotency import REPLAYED, Answer, Idempotency, read_key
from server.kit.http.ifmatch import entity_tag, none_match
from server.kit.http.ifmatch import read as read_condition
from server.kit.http.read import BodyReader, BytesReader, QueryReader, path_reader
from server.kit.http.requestid import HEADER
from server.kit.http.routes import Access, Route, sends_itself
from server.kit.http.unit import in_unit
from server.kit.limits import Limits
from server.kit.problems import Forbidden, StepUpRequired, Unauthorized
from storage.postgres import Connection, Database

_TOKEN_LIMIT = 4096
_NOBODY_WAITS = 499
"""What a trace says of a request whose client has gone."""


def wrap(route: Route, edge: Edge, kind: RouteClass, limits: Limits) -> Callable[[web.Request], Awaitable[Any]]:
    """The handler to add to aiohttp's router. kind: that of `route.limits`."""
    bytes_reader, gate = BytesReader(kind.max_body, kind.body_timeout), Gate(kind, limits)
    limited = not gate.open
    handler, path, access, status = route.handler, route.path, route.access, route.status
    body = None if route.body is None else BodyReader(route.body, bytes_reader)
    query = None if route.query is None else QueryReader(route.query)
    in_path = [(name, path_reader(kind)) for name, kind in route.path_parameters.items()]
    takes_call, raw = route.takes_call, sends_itself(route.result)
    looks, needed = access is not Access.OPEN, access is Access.USER
    unsafe, takes_condition = route.method not in SAFE, bool(route.if_match)
    etag = route.etag and route.method == "GET"
    version = next((name for name in ("version", "updated_at") if has_field(route.result, name)), None)
    tagged = etag or (takes_condition and version is not None)
    cursor_in = edge.cursors if has_field(route.query, "cursor") else None
    cursor_out = edge.cursors if has_field(route.result, "next_cursor") else None
    base = api_headers("" if route.result is None else "application/json")
    if etag:
        base["Cache-Control"] = "no-cache" if access is Access.OPEN else "private, no-cache"
    if edge.hsts:
        base["Strict-Transport-Security"] = edge.hsts
    encode = msgspec.json.Encoder().encode
    canonical = msgspec.json.Encoder(order="deterministic").encode
    authenticate = edge.authenticator.authenticate
    addresses, cors, id_of, set_id = edge.addresses, edge.cors, edge.request_ids.of, logs.request_id.set

    async def identify(request: web.Request, call: Call) -> Caller | None:
        try:
            token = bearer(request)
            if route.other_tokens and token is not None and token.startswith(route.other_tokens):
                return None
            caller = None if token is None else await authenticate(token)
            if needed and caller is None:
                raise Unauthorized()
        except Unauthorized:
            if limited:  # who tries tokens is counted too
                await gate.enter(call)
            raise
        return caller

    def permit(caller: Caller) -> None:
        """Whether this caller may use the route at all; whose things he may touch is the feature's to say."""
        if route.permission is not None and route.permission not in caller.permissions:
            raise Forbidden(f"This needs the permission {route.permission}.")
        if caller.scopes is not None and route.scope not in caller.scopes:
            raise Forbidden(
                f"This API key has not the scope {route.scope}." if route.scope else "API keys are not taken here."
            )
        if route.step_up and time() - caller.proven_at > edge.step_up_seconds:
            raise StepUpRequired("Show your password or another factor at POST /api/v1/auth/step-up first.")

    async def read(request: web.Request, call: Call) -> dict[str, Any]:
        """What the handler is called with. All of the request is here before anything is held for it."""
        arguments: dict[str, Any] = {"call": call} if takes_call else {}
        for name, convert in in_path:
            arguments[name] = convert(request.match_info[name])
        if query is not None:
            arguments["query"] = query.read(request)
            if cursor_in is not None:
                arguments["query"] = cursor_in.opened(list_of(request, call), arguments["query"])
        if takes_condition:
            call.if_match = read_condition(request, required=route.if_match == "required")
        if body is not None:
            arguments["body"] = await body.read(request)
        return arguments

    def list_of(request: web.Request, call: Call) -> str:
        """What a cursor is good for."""
        whose = call.caller.user_id if needed and call.caller is not None else ""
        return f"{path} {sorted(request.match_info.items()) if in_path else ''} {whose}"

    async def run(request: web.Request, call: Call, request_id: str) -> web.StreamResponse:
        arguments = await read(request, call)
        if route.idempotent and (key := read_key(request)) is not None:
            answer = await once(request, call, arguments, key)
        elif route.audit is not None:
            answer = await in_unit(cast(Database, edge.database), lambda connection: work(connection, call, arguments))
        else:
            result = await handler(**arguments)
            if raw:
                dress(result, call, request_id)
                return result  # type: ignore[no-any-return]
            answer = answer_of(request, call, result)
        headers = base.copy()
        headers[HEADER] = request_id
        if cors.enabled:
            cors.allow(request, headers)
        if answer.headers:
            headers.update(answer.headers)
        for cookie in answer.cookies:
            headers.add(hdrs.SET_COOKIE, cookie)
        if etag and none_match(request, headers[hdrs.ETAG]):
            return web.Response(status=304, headers=headers)
        return web.Response(body=answer.body, status=answer.status, headers=headers)

    def answer_of(request: web.Request, call: Call, result: Any) -> Answer:
        if result is None:
            return Answer(status, call.headers, call.cookies, None)
        if cursor_out is not None:
            result = cursor_out.signed(list_of(request, call), result)
        data = encode(result)
        if tagged:
            call.headers[hdrs.ETAG] = entity_tag(data, None if version is None else getattr(result, version))
        return Answer(status, call.headers, call.cookies, data)

    async def work(connection: Connection, call: Call, arguments: dict[str, Any]) -> Answer:
        """The handler inside a unit, with its audit line."""
        result = await handler(**arguments)
        if route.audit is not None:
            me = call.user.user_id
            about = call.audit_subject or me
            await cast(Audit, edge.audit).record(
                connection,
                about,
                route.audit,
                call.origin,
                actor_id=me if about != me else None,
                **call.audit_details,
            )
        return answer_of(call.request, call, result)

    async def once(request: web.Request, call: Call, arguments: dict[str, Any], key: str) -> Answer:
        idempotency, me = cast(Idempotency, edge.idempotency), call.user.user_id
        sent = canonical(arguments["body"]) if body is not None else b""
        about = (request.method.encode(), request.raw_path.encode(), sent, me.bytes)
        limits = dict(call.headers)  # those of the rate limits are this request's own
        answer, replayed = await idempotency.run(
            me,
            key,
            idempotency.fingerprint(*about),
            lambda connection: work(connection, call, arguments),
        )
        if replayed:
            kept = {name: value for name, value in answer.headers.items() if not name.startswith("RateLimit")}
            answer.headers = {**kept, **limits, REPLAYED: "true"}
        return answer

    def dress(response: web.StreamResponse, call: Call, request_id: str) -> None:
        if response.prepared:
            return
        for name, value in base.items():
            if name != "Content-Type":
                response.headers.setdefault(name, value)
        response.headers[HEADER] = request_id
        if cors.enabled:
            cors.allow(call.request, response.headers)
        response.headers.update(call.headers)
        for cookie in call.cookies:
            response.headers.add(hdrs.SET_COOKIE, cookie)

    async def handle(request: web.Request) -> web.StreamResponse:
        started = perf_counter()
        request_id = id_of(request)
        set_id(request_id)
        call = Call(request, request_id, None, addresses, bytes_reader)
        span = None if edge.tracer is None else edge.tracer.begin(request, path, request_id)
        response: web.StreamResponse
        try:
            if unsafe:
                edge.cross_site.check(request)
            if looks and (needed or hdrs.AUTHORIZATION in request.headers):
                call.caller = await identify(request, call)
            if limited:
                await gate.enter(call)
            if call.caller is not None:
                permit(call.caller)
            response = await run(request, call, request_id)
        except asyncio.CancelledError:
            if span is not None:
                span.end(_NOBODY_WAITS)
            raise
        except Exception as error:
            response = edge.problem(error, request, request_id)
            response.headers.update(call.headers)
            for cookie in call.cookies:
                response.headers.add(hdrs.SET_COOKIE, cookie)
        edge.finished(request, path, response.status, started)
        if span is not None:
            span.end(response.status)
        return response

    return handle


def bearer(request: web.BaseRequest) -> str | None:
    """The token of `Authorization: Bearer …` (RFC 6750, section 2.1); None when there is none of that scheme.

    Another scheme is left alone: a proxy in front may have its own. Raises Unauthorized for a token that cannot be one.
    """
    given = request.headers.getall(hdrs.AUTHORIZATION, ())
    if not given:
        return None
    if len(given) > 1:  # whoever stands in front may have looked at the other one
        raise Unauthorized("Authorization is given twice.")
    scheme, _, token = given[0].partition(" ")
    if scheme.lower() != "bearer":
        return None
    token = token.strip()
    if not token or len(token) > _TOKEN_LIMIT or not token.isascii():
        raise Unauthorized("The access token is not one.")
    return token
