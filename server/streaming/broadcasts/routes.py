"""Broadcasts over HTTP."""

from __future__ import annotations

from uuid import UUID

from server.kit.http import Access, Call, Page, PageQuery, Routes
from server.kit.problems import BadCursor
from server.streaming.addresses import Addresses
from server.streaming.broadcasts.errors import (
    AlreadyEnded,
    AlreadyLive,
    NoSuchBroadcast,
    NotYours,
    StillLive,
    VisibilityNotYet,
)
from server.streaming.broadcasts.models import (
    BroadcastView,
    CardView,
    EditBody,
    EndBody,
    JoinView,
    StartBody,
    StartedView,
)
from server.streaming.broadcasts.service import Broadcasts
from server.streaming.playback.errors import MAY_NOT
from server.streaming.playback.viewers import COOKIE, COOKIE_SECONDS, Viewers


def routes(broadcasts: Broadcasts, addresses: Addresses, viewers: Viewers) -> Routes:
    api = Routes(tag="live")

    @api.post(
        "/api/v1/live/start",
        status=201,
        access=Access.USER,
        idempotent=True,
        errors=(AlreadyLive, VisibilityNotYet),
        summary="Prepare a broadcast",
    )
    async def start(call: Call, body: StartBody) -> StartedView:
        """The next push with your stream key belongs to it. `stream_key` is set only when you had none yet; it is shown
        this once. Push to `ingest.rtmp`; viewers play `playback`."""
        return await broadcasts.start(call.user, body, addresses.seen_from(call.request))

    @api.post(
        "/api/v1/live/end",
        access=Access.USER,
        errors=(NoSuchBroadcast, NotYours, AlreadyEnded),
        summary="End a broadcast",
    )
    async def end(call: Call, body: EndBody) -> BroadcastView:
        """Hangs up on the encoder, closes the recording and tells the viewers."""
        return await broadcasts.end(body.stream_id, call.user, addresses.seen_from(call.request))

    @api.get("/api/v1/live", access=Access.ANYONE, etag=True, errors=(BadCursor,), summary="What is live now")
    async def on_air(call: Call, query: PageQuery) -> Page[CardView]:
        """Public broadcasts on air, the newest first."""
        return await broadcasts.on_air(query, addresses.seen_from(call.request))

    @api.get("/api/v1/live/mine", access=Access.USER, etag=True, errors=(BadCursor,), summary="Your broadcasts")
    async def mine(call: Call, query: PageQuery) -> Page[CardView]:
        """All of yours, the newest first: prepared, on air and past."""
        return await broadcasts.mine(call.user, query, addresses.seen_from(call.request))

    @api.get(
        "/api/v1/live/{id}",
        access=Access.ANYONE,
        etag=True,
        errors=(NoSuchBroadcast, *MAY_NOT),
        summary="One broadcast",
    )
    async def show(call: Call, id: UUID) -> BroadcastView:
        """`health` and `events` are shown to its owner alone."""
        return await broadcasts.show(id, call.caller, addresses.seen_from(call.request))

    @api.put(
        "/api/v1/live/{id}",
        access=Access.USER,
        if_match=True,
        errors=(NoSuchBroadcast, NotYours, VisibilityNotYet),
        summary="Edit a broadcast",
    )
    async def edit(call: Call, id: UUID, body: EditBody) -> BroadcastView:
        """Only the fields that are sent change. With `If-Match` only what you have read is changed, not what somebody
        made of it since; the new `ETag` is in the answer."""
        return await broadcasts.edit(id, call.user, body, addresses.seen_from(call.request), call.if_match)

    @api.delete(
        "/api/v1/live/{id}",
        access=Access.USER,
        errors=(NoSuchBroadcast, NotYours, StillLive),
        summary="Delete a broadcast",
    )
    async def delete(call: Call, id: UUID) -> None:
        """With its recording and its chat. One that is on air must be ended first."""
        await broadcasts.delete(id, call.user)

    @api.post(
        "/api/v1/live/{id}/join", access=Access.ANYONE, errors=(NoSuchBroadcast, *MAY_NOT), summary="Start watching"
    )
    async def join(call: Call, id: UUID) -> JoinView:
        """Where to play, and the realtime channel beside it. Sets the cookie by which one viewer is counted once.

        What is neither public nor unlisted has addresses for the caller, good for minutes: ask again after `renew_in`
        seconds and put what stands after the id in the place of what stood there."""
        if (cookie := viewers.issue(call.request)) is not None:
            call.set_cookie(COOKIE, cookie, max_age=COOKIE_SECONDS, secure=addresses.secure)
        return await broadcasts.join(id, call.caller, addresses.seen_from(call.request))

    return api
