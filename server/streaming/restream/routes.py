"""Targets over HTTP, for their owner alone."""

from __future__ import annotations

from uuid import UUID

from server.kit.http import Access, Call, Routes
from server.streaming.restream.errors import NoSuchTarget, NotOnAir, TargetDisabled, TooManyTargets
from server.streaming.restream.models import EditTargetBody, MakeTargetBody, Targets, TargetView
from server.streaming.restream.service import Restreams

EXAMPLE = MakeTargetBody(name="Elsewhere", url="rtmps://live.example.org/app", key="live_123456_abcdef")


def routes(restreams: Restreams) -> Routes:
    api = Routes(tag="live")

    @api.get("/api/v1/live/targets", access=Access.USER, etag=True, summary="Where your broadcasts are pushed on to")
    async def every(call: Call) -> Targets:
        """With the state of each push. Stream keys are never shown."""
        return await restreams.all(call.user.user_id)

    @api.post(
        "/api/v1/live/targets",
        status=201,
        access=Access.USER,
        idempotent=True,
        errors=(TooManyTargets,),
        audit="target.made",
        summary="Push your broadcasts to another service too",
        example_body=EXAMPLE,
    )
    async def make(call: Call, body: MakeTargetBody) -> TargetView:
        """By RTMP or RTMPS. All your broadcasts go there while it is turned on, also the one that is on air now."""
        return await restreams.make(body, call.user.user_id)

    @api.get("/api/v1/live/targets/{id}", access=Access.USER, etag=True, errors=(NoSuchTarget,), summary="One target")
    async def show(call: Call, id: UUID) -> TargetView:
        """With the state of its push."""
        return await restreams.show(id, call.user.user_id)

    @api.put(
        "/api/v1/live/targets/{id}",
        access=Access.USER,
        if_match=True,
        errors=(NoSuchTarget,),
        audit="target.changed",
        summary="Edit a target",
        example_body=EditTargetBody(name="Elsewhere"),
    )
    async def edit(call: Call, id: UUID, body: EditTargetBody) -> TargetView:
        """Only the fields that are sent change. With another `url` the `key` has to be sent again. A push that is under
        way begins anew with another address or key, and ends when the target is turned off."""
        return await restreams.edit(id, body, call.user.user_id, call.if_match)

    @api.delete(
        "/api/v1/live/targets/{id}",
        access=Access.USER,
        errors=(NoSuchTarget,),
        audit="target.deleted",
        summary="Delete a target",
    )
    async def delete(call: Call, id: UUID) -> None:
        """A push to it ends."""
        await restreams.delete(id, call.user.user_id)

    @api.post(
        "/api/v1/live/targets/{id}/start",
        access=Access.USER,
        errors=(NoSuchTarget, TargetDisabled, NotOnAir),
        summary="Push to a target now",
    )
    async def start(call: Call, id: UUID) -> TargetView:
        """After it was stopped, after the target refused, or without waiting for the next attempt. A push that is under
        way begins anew."""
        return await restreams.begin(id, call.user.user_id)

    @api.post(
        "/api/v1/live/targets/{id}/stop",
        access=Access.USER,
        errors=(NoSuchTarget, NotOnAir),
        summary="Stop pushing this broadcast to a target",
    )
    async def stop(call: Call, id: UUID) -> TargetView:
        """Your next broadcast is pushed to it again; turn the target off for none at all."""
        return await restreams.stop(id, call.user.user_id)

    return api
