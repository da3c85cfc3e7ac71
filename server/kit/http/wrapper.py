"""From a declared route to an aiohttp handler: everything that can be known beforehand is worked out here, once."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

import msgspec
from aiohttp import hdrs, web

from server.kit import logs
from server.kit.auth import Caller
from server.kit.http.call import Call
from server.kit.http.edge import Edge
from server.kit.http.headers import api_headers
from server.kit.http.read import BodyReader, QueryReader, path_reader
from server.kit.http.requestid import HEADER
from server.kit.http.routes import Access, Route, sends_itself
from server.kit.problems import Forbidden, Unauthorized

_TOKEN_LIMIT = 4096


def wrap(route: Route, edge: Edge, *, max_body: int, body_timeout: float) -> Callable[[web.Request], Awaitable[Any]]:
    """The handler to add to aiohttp's router."""
    handler, path, access, status = route.handler, route.path, route.access, route.status
    body = None if route.body is None else BodyReader(route.body, max_body, body_timeout)
    query = None if route.query is None else QueryReader(route.query)
    in_path = [(name, path_reader(kind)) for name, kind in route.path_parameters.items()]
    takes_call, raw = route.takes_call, sends_itself(route.result)
    looks, needed = access is not Access.OPEN, access is Access.USER
    etag = route.etag and route.method == "GET"
    base = api_headers("" if route.result is None else "application/json")
    if etag:
        base["Cache-Control"] = "no-cache"
    encode = msgspec.json.Encoder().encode
    authenticate = edge.authenticator.authenticate
    addresses, cors, id_of, set_id = edge.addresses, edge.cors, edge.request_ids.of, logs.request_id.set

    async def identify(request: web.Request) -> Caller | None:
        token = bearer(request)
        caller = None if token is None else await authenticate(token)
        if needed and caller is None:
            raise Unauthorized()
        if caller is not None:
            permit(caller)
        return caller

    def permit(caller: Caller) -> None:
        """Whether this caller may use the route at all; whose things he may touch is the feature's to say."""
        if route.permission is not None and route.permission not in caller.permissions:
            raise Forbidden(f"This needs the permission {route.permission}.")
        if caller.scopes is not None and route.scope not in caller.scopes:
            raise Forbidden(
                f"This API key has not the scope {route.scope}." if route.scope else "API keys are not taken here."
            )

    async def run(request: web.Request, call: Call, request_id: str) -> web.StreamResponse:
        arguments: dict[str, Any] = {"call": call} if takes_call else {}
        for name, convert in in_path:
            arguments[name] = convert(request.match_info[name])
        if query is not None:
            arguments["query"] = query.read(request)
        if body is not None:
            arguments["body"] = await body.read(request)
        result = await handler(**arguments)
        if raw:
            dress(result, call, request_id)
            return result  # type: ignore[no-any-return]
        headers = base.copy()
        headers[HEADER] = request_id
        if cors.enabled:
            cors.allow(request, headers)
        if call.headers:
            headers.update(call.headers)
        for cookie in call.cookies:
            headers.add(hdrs.SET_COOKIE, cookie)
        if result is None:
            return web.Response(status=status, headers=headers)
        data = encode(result)
        if etag:
            tag = f'W/"{zlib.crc32(data):08x}{len(data):x}"'
            headers[hdrs.ETAG] = tag
            if tag in request.headers.get(hdrs.IF_NONE_MATCH, ""):
                return web.Response(status=304, headers=headers)
        return web.Response(body=data, status=status, headers=headers)

    def dress(response: web.StreamResponse, call: Call, request_id: str) -> None:
        if response.prepared:
            return
        for name, value in base.items():
            if name != "Content-Type":
                response.headers.setdefault(name, value)
        response.headers[HEADER] = request_id
        response.headers.update(call.headers)
        for cookie in call.cookies:
            response.headers.add(hdrs.SET_COOKIE, cookie)

    async def handle(request: web.Request) -> web.StreamResponse:
        started = perf_counter()
        request_id = id_of(request)
        set_id(request_id)
        call = Call(request, request_id, None, addresses)
        response: web.StreamResponse
        try:
            if looks and (needed or hdrs.AUTHORIZATION in request.headers):
                call.caller = await identify(request)
            response = await run(request, call, request_id)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            response = edge.problem(error, request, request_id)
            response.headers.update(call.headers)
            for cookie in call.cookies:
                response.headers.add(hdrs.SET_COOKIE, cookie)
        edge.finished(request, path, response.status, started)
        return response

    return handle


def bearer(request: web.BaseRequest) -> str | None:
    """The token of `Authorization: Bearer …` (RFC 6750, section 2.1); None when there is none of that scheme.

    Another scheme is left alone: a proxy in front may have its own. Raises Unauthorized for a token that cannot be one.
    """
    given = request.headers.get(hdrs.AUTHORIZATION)
    if given is None:
        return None
    scheme, _, token = given.partition(" ")
    if scheme.lower() != "bearer":
        return None
    token = token.strip()
    if not token or len(token) > _TOKEN_LIMIT or not token.isascii():
        raise Unauthorized("The access token is not one.")
    return token
