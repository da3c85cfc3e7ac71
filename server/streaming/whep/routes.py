"""Watching by WebRTC over HTTP (WHEP, draft-ietf-wish-whep)."""

from __future__ import annotations

from uuid import UUID

from aiohttp import web

from media.rtc.port import RtcPort
from server.kit.http import Access, Call, Routes
from server.streaming.broadcasts.errors import NoSuchBroadcast
from server.streaming.iceservers import IceServers
from server.streaming.negotiation import (
    FRAGMENT,
    OFFER_ERRORS,
    PATCH_ERRORS,
    SDP,
    answered,
    patched,
    read_offer,
)
from server.streaming.playback.errors import MAY_NOT
from server.streaming.playback.viewers import Viewers
from server.streaming.whep.errors import (
    BFrames,
    NoRoom,
    NoSuchSession,
    NotOnAir,
    NotPlayable,
    OnAirElsewhere,
    TooManySessions,
)
from server.streaming.whep.service import Sessions


def routes(sessions: Sessions, port: RtcPort, viewers: Viewers, ice: IceServers, max_sdp: int) -> Routes:
    api = Routes(tag="live")

    @api.post(
        "/api/v1/live/{id}/whep",
        status=201,
        access=Access.ANYONE,
        file_body=(SDP,),
        file_result=(SDP,),
        errors=(
            NoSuchBroadcast,
            *MAY_NOT,
            NotOnAir,
            OnAirElsewhere,
            BFrames,
            NotPlayable,
            TooManySessions,
            NoRoom,
            *OFFER_ERRORS,
        ),
        summary="Watch by WebRTC",
    )
    async def watch(call: Call, id: UUID) -> web.Response:
        """The offer of a player that receives H.264 (or what the broadcast is in) and Opus; the answer has all our
        candidates. `Location` is the session: DELETE ends it, PATCH begins ICE anew; `Link` has the STUN and TURN
        servers. It counts as a viewer, and ends
        with the broadcast, or with the sign-in that it was opened with. Where this cannot be, `playback.hls` can."""
        offer = await read_offer(call, max_sdp)
        session, sdp = await sessions.open(
            id,
            offer,
            caller=call.caller,
            viewer_key=viewers.viewer_of(call.request),
            address=call.address,
        )
        return answered(session, sdp, f"/api/v1/live/{id}/whep/{session.id}", ice.links())

    @api.patch(
        "/api/v1/live/{id}/whep/{session}",
        access=Access.ANYONE,
        file_body=(FRAGMENT,),
        file_result=(FRAGMENT,),
        errors=(NoSuchSession, *PATCH_ERRORS),
        summary="Candidates, or ICE anew",
    )
    async def patch(call: Call, id: UUID, session: str) -> web.Response:
        """204 for candidates, which the server does not need; with `If-Match: *` and new credentials ICE begins anew,
        and the answer has the server's."""
        return await patched(call, sessions.find(id, session), port.candidates(), max_sdp)

    @api.delete(
        "/api/v1/live/{id}/whep/{session}", access=Access.ANYONE, errors=(NoSuchSession,), summary="Stop watching"
    )
    async def leave(call: Call, id: UUID, session: str) -> None:
        """The name of a session is known to who opened it alone: whoever has it may end it."""
        sessions.end(sessions.find(id, session))

    return api
