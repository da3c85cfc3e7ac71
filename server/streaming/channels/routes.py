"""The stream key over HTTP."""

from __future__ import annotations

from server.kit.http import Access, Call, Routes
from server.streaming.addresses import Addresses
from server.streaming.channels.models import KeyView
from server.streaming.channels.service import Channels


def routes(channels: Channels, addresses: Addresses) -> Routes:
    api = Routes(tag="live")

    @api.get("/api/v1/live/key", access=Access.USER, summary="Whether you have a stream key")
    async def show_key(call: Call) -> KeyView:
        """The key itself is shown only when it is made; `hint` is its last four characters."""
        return await channels.show_key(call.user.user_id, addresses.seen_from(call.request))

    @api.post("/api/v1/live/key", access=Access.USER, summary="Make a new stream key")
    async def rotate_key(call: Call) -> KeyView:
        """Creates the key, or replaces it: pushes that start with the old one are refused from now on."""
        return await channels.rotate_key(call.user.user_id, addresses.seen_from(call.request))

    return api
