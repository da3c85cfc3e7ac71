"""The stream key over HTTP."""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

from server.kit.http import Access, Call, Routes
from server.streaming.addresses import Addresses
from server.streaming.channels.models import KeyView
from server.streaming.channels.service import Channels
from storage.postgres import after_commit


class Encoders(Protocol):
    """Those who push just now."""

    def hang_up(self, channel_id: UUID, reason: str) -> None: ...


def routes(channels: Channels, addresses: Addresses, encoders: Encoders) -> Routes:
    api = Routes(tag="live")

    @api.get("/api/v1/live/key", access=Access.USER, etag=True, summary="Whether you have a stream key")
    async def show_key(call: Call) -> KeyView:
        """The key itself is shown only when it is made; `hint` is its last four characters."""
        return await channels.show_key(call.user.user_id, addresses.seen_from(call.request))

    @api.post("/api/v1/live/key", access=Access.USER, idempotent=True, summary="Make a new stream key")
    async def rotate_key(call: Call) -> KeyView:
        """Creates the key, or replaces it: a push that is under way with the old one is hung up on, and no other gets
        in with it."""
        view, channel_id = await channels.rotate_key(call.user.user_id, addresses.seen_from(call.request))
        after_commit(lambda: encoders.hang_up(channel_id, "a new stream key was made"))
        return view

    return api
