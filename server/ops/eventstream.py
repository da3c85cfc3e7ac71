"""`GET /events` as a declared route: realtime's event streams, with the kit's way of knowing the caller."""

from __future__ import annotations

from typing import Annotated

import msgspec
from aiohttp import hdrs, web
from msgspec import Meta, Struct

from realtime.events import Events
from realtime.protocol.events import MOST_CHANNELS
from server.kit.http.call import Call
from server.kit.http.routes import Access, Routes
from server.kit.http.wrapper import bearer
from server.kit.problems import Forbidden, Invalid, NotFound, Problem, TooManyRequests, Unauthorized, Unavailable


class UnknownChannel(NotFound):
    code = "unknown_channel"
    title = "There is no such channel"


class EventsQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    channels: Annotated[
        str,
        Meta(min_length=1, max_length=10_000, description=f"1 to {MOST_CHANNELS} channels, as live:0192…,live:0193…"),
    ]
    last_event_id: Annotated[
        str, Meta(max_length=8192, description="for who cannot set the header Last-Event-ID, which goes before it")
    ] = ""
    presence: Annotated[bool, Meta(description="also who is there, as `members`")] = False


def routes(events: Events) -> Routes:
    api = Routes("chat")

    @api.get(
        "/events",
        access=Access.ANYONE,
        summary="Listen to channels as server-sent events",
        errors=(Forbidden, UnknownChannel, TooManyRequests, Unavailable),
        file_result=("text/event-stream",),
    )
    async def listen(call: Call, query: EventsQuery) -> web.StreamResponse:
        """A stream of `text/event-stream` that goes on until one side ends it. Each event's name is the type of a
        message of the socket and its data that message as JSON: `ack` once for each channel, as for `subscribe`, then
        `message`, `presence`, `members`, `typing`, `state`, `closed`, `notice`, and
        `end` with a close code. Send the id of the last event
        as `Last-Event-ID` (browsers do) and each `ack` has exactly what was missed, with `recovered: true`, or the
        latest messages with `recovered: false`. See docs/realtime.md.
        """
        channels = [name.strip() for name in query.channels.split(",")]
        token = bearer(call.request) or ""
        answer = await events.handle(
            call.request, channels, query.last_event_id, call.caller, token, presence=query.presence
        )
        if answer.status >= 400:
            raise _refusal(answer)
        return answer

    return api


def _refusal(answer: web.StreamResponse) -> Problem:
    """Realtime knows nothing of the kit: its refusals as the problems that the document has."""
    assert isinstance(answer, web.Response)
    assert isinstance(answer.body, bytes)
    said = msgspec.json.decode(answer.body, type=_Said)
    wait = float(answer.headers.get(hdrs.RETRY_AFTER, 1))
    match answer.status:
        case 401:
            return Unauthorized(said.detail)
        case 403:
            return Forbidden(said.detail)
        case 404:
            return UnknownChannel(said.detail)
        case 422:
            return Invalid.at("channels", said.detail, "query")
        case 429:
            return TooManyRequests(said.detail, wait)
    return Unavailable(said.detail, wait)


class _Said(Struct, frozen=True):
    detail: str
