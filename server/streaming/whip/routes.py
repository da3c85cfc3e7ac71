"""Going live by WebRTC over HTTP (WHIP, RFC 9725)."""

from __future__ import annotations

from aiohttp import web

from media.rtc.port import RtcPort
from server.kit.http import Access, Call, Routes
from server.kit.http.wrapper import bearer
from server.streaming.addresses import WHIP_PATH
from server.streaming.channels.service import KEY_PREFIX
from server.streaming.iceservers import IceServers
from server.streaming.negotiation import FRAGMENT, OFFER_ERRORS, PATCH_ERRORS, SDP, answered, patched, read_offer
from server.streaming.whip.errors import REFUSALS, NoRoom, NoSuchSession, TooManySessions
from server.streaming.whip.service import Proof, Whips


def _proof(call: Call) -> Proof:
    return Proof.of(call.caller, bearer(call.request))


def routes(whips: Whips, port: RtcPort, ice: IceServers, max_sdp: int) -> Routes:
    api = Routes(tag="live")

    @api.post(
        WHIP_PATH,
        status=201,
        access=Access.USER,
        other_tokens=KEY_PREFIX,
        file_body=(SDP,),
        file_result=(SDP,),
        errors=(*REFUSALS, TooManySessions, NoRoom, *OFFER_ERRORS),
        summary="Go live by WebRTC",
    )
    async def publish(call: Call) -> web.Response:
        """The offer of a sender of H.264 (or AV1, VP9) and Opus. The bearer is the stream key, or an access token or
        API key (`live:write`) of the channel's owner. The answer has all our candidates; `Location` is the session, for
        DELETE and PATCH with the same bearer; `Link` has the STUN and TURN servers. Within the reconnect window the
        broadcast goes on, also when it was pushed to by RTMP before."""
        proof = _proof(call)
        offer = await read_offer(call, max_sdp)
        session, sdp = await whips.open(offer, proof, address=call.address, encoder=call.user_agent)
        return answered(session, sdp, f"{WHIP_PATH}/{session.id}", ice.links())

    @api.patch(
        WHIP_PATH + "/{session}",
        access=Access.USER,
        other_tokens=KEY_PREFIX,
        file_body=(FRAGMENT,),
        file_result=(FRAGMENT,),
        errors=(NoSuchSession, *PATCH_ERRORS),
        summary="Candidates, or ICE anew",
    )
    async def patch(call: Call, session: str) -> web.Response:
        """204 for candidates, which the server does not need; with `If-Match: *` and new credentials ICE begins anew,
        and the answer has the server's."""
        found = whips.find(session, _proof(call))
        return await patched(call, found, port.candidates(), max_sdp)

    @api.delete(
        WHIP_PATH + "/{session}",
        status=200,
        access=Access.USER,
        other_tokens=KEY_PREFIX,
        errors=(NoSuchSession,),
        summary="Stop sending",
    )
    async def stop(call: Call, session: str) -> None:
        """The broadcast waits for its publisher to come back; `POST /live/end` ends it."""
        whips.end(whips.find(session, _proof(call)))

    return api
