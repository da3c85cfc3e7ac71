"""What WHIP (RFC 9725) and WHEP have in common over HTTP: offers in, answers out, and what a session is told later.

A session resource answers its POST with 201, its address and the ETag of its ICE session. PATCH brings candidates,
which an ICE-lite side needs none of, or begins ICE anew; DELETE ends it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from aiohttp import hdrs, web

from media.protocols.errors import SdpError
from media.protocols.sdp import Description, Fragment
from media.rtc.offer import Agreement, NothingInCommon
from media.rtc.peer import Peer
from server.kit.http import Call, Problem
from server.kit.problems import (
    BadRequest,
    BodyTooLarge,
    PreconditionFailed,
    PreconditionRequired,
    UnsupportedMediaType,
)

SDP = "application/sdp"
FRAGMENT = "application/trickle-ice-sdpfrag"


class BadOffer(BadRequest):
    """The session description cannot be read, or cannot be answered at all."""

    code = "bad_offer"
    title = "The session description cannot be used"


class NoCommonCodec(Problem):
    """Well formed, but nothing in it can be taken: `offered` and `taken` name codecs, `rejected` says why."""

    status = 406
    code = "no_common_codec"
    title = "Nothing in the offer can be taken"


OFFER_ERRORS = (BadOffer, NoCommonCodec, UnsupportedMediaType, BodyTooLarge)
PATCH_ERRORS = (BadOffer, UnsupportedMediaType, BodyTooLarge, PreconditionFailed, PreconditionRequired)


class Session(Protocol):
    """restarts: of ICE, since the session began."""

    peer: Peer
    agreement: Agreement
    restarts: int


async def read_offer(call: Call, max_bytes: int) -> Description:
    """The offer in the body. Raises Problems."""
    return parse_offer(await _body(call, SDP, max_bytes), max_bytes)


def parse_offer(body: bytes, max_bytes: int) -> Description:
    try:
        return Description.parse(body, max_bytes=max_bytes)
    except SdpError as error:
        raise BadOffer(error.reason) from None


def refusal(error: SdpError) -> Problem:
    """What to say of an offer that was read, but cannot be answered."""
    if isinstance(error, NothingInCommon):
        return NoCommonCodec(error.reason, offered=error.offered, taken=error.taken, rejected=error.rejected)
    return BadOffer(error.reason)


def tag_of(session: Session) -> str:
    """ETag of its ICE session (RFC 9725, 4.3.1): another one after each restart."""
    return f'"{session.restarts}"'


def answered(session: Session, sdp: str, location: str, links: Sequence[str] = ()) -> web.Response:
    """links: values of Link, the ICE servers (4.6)."""
    response = web.Response(status=201, text=sdp, content_type=SDP)
    response.headers[hdrs.LOCATION] = location
    response.headers[hdrs.ETAG] = tag_of(session)
    response.headers["Accept-Patch"] = FRAGMENT
    response.headers[hdrs.CACHE_CONTROL] = "no-store"
    for link in links:
        response.headers.add(hdrs.LINK, link)
    return response


async def patched(call: Call, session: Session, candidates: Sequence[str], max_bytes: int) -> web.Response:
    """Candidates (204), or a restart of ICE (200 with our new side). candidates: our lines `a=candidate:…`."""
    body = await _body(call, FRAGMENT, max_bytes)
    wanted = call.request.headers.get(hdrs.IF_MATCH, "").strip()
    if not wanted:
        raise PreconditionRequired("Send the session's ETag as If-Match; * begins ICE anew (RFC 9725, 4.3).")
    if wanted not in ("*", tag_of(session)):
        raise PreconditionFailed("ICE was begun anew since: this belongs to what was before.")
    try:
        fragment = Fragment.parse(body, max_bytes=max_bytes)
    except SdpError as error:
        raise BadOffer(error.reason) from None
    remote = session.peer.remote
    if remote is not None and (fragment.ufrag, fragment.pwd) == (remote.ufrag, remote.pwd):
        return web.Response(status=204)  # an ICE-lite side looks for nobody: candidates need not be known
    if wanted != "*":
        raise PreconditionFailed("These are credentials of another ICE session. To begin anew send If-Match: *.")
    ufrag, pwd = session.peer.restart_ice(fragment.ufrag, fragment.pwd)
    session.restarts += 1
    first = session.agreement.sections[0]
    told = [line.removeprefix("a=candidate:") for line in candidates]
    text = Fragment(ufrag, pwd, told, end_of_candidates=True).build(first.kind.value, first.mid)
    response = web.Response(status=200, text=text, content_type=FRAGMENT)
    response.headers[hdrs.ETAG] = tag_of(session)
    return response


async def _body(call: Call, content_type: str, max_bytes: int) -> bytes:
    if call.request.content_type.lower() != content_type:
        raise UnsupportedMediaType(f"Send the body as {content_type}.")
    body = await call.read_bytes()
    if len(body) > max_bytes:
        raise BodyTooLarge(f"A session description has at most {max_bytes} bytes here.")
    return body
