"""Clips and trims over HTTP."""

from __future__ import annotations

from uuid import UUID

from server.kit.http import Access, Call, Page, PageQuery, Routes
from server.kit.problems import BadCursor, Invalid, Problem
from server.streaming.addresses import Addresses
from server.streaming.broadcasts.errors import NoSuchBroadcast
from server.streaming.clips.errors import (
    BadStretch,
    ClipsNotAllowed,
    NoSuchClip,
    NothingToClip,
    NotYourClip,
    TooManyClips,
    WiderThanSource,
)
from server.streaming.clips.models import (
    ClipBody,
    ClipView,
    KeptBody,
    RangeView,
    RuleBody,
    RuleView,
    TrimBody,
    VideoClipBody,
    Who,
)
from server.streaming.clips.service import Clips
from server.streaming.playback.errors import MAY_NOT
from server.streaming.videos.errors import AlreadyReplacing, NoSuchVideo, NotReady, NotYourVideo, QuotaReached
from server.streaming.videos.models import DeletedView, SourceKind, UploadedView

BROADCAST, VIDEO = SourceKind.BROADCAST, SourceKind.VIDEO
MADE = (BadStretch, ClipsNotAllowed, NothingToClip, TooManyClips, WiderThanSource, QuotaReached, Invalid)


def routes(clips: Clips, addresses: Addresses) -> Routes:
    api = Routes("clips", "Clips of broadcasts and videos, and trims of videos: exact to the picture.")

    @api.post(
        "/api/v1/live/{id}/clips",
        access=Access.USER,
        status=202,
        idempotent=True,
        audit="clip.made",
        errors=(NoSuchBroadcast, *MAY_NOT, *MADE),
        summary="Make a clip of a broadcast",
        example_body=ClipBody(title="That goal", last=30.0),
    )
    async def of_broadcast(call: Call, id: UUID, body: ClipBody) -> UploadedView:
        """Of what is on air, of what can be wound back to, or of its recording. The clip is a video of yours: ask for
        it, or subscribe to `video:{id}`, as after an upload; most are playable in some seconds. It begins with the
        picture shown at `from` and ends before the one shown at `to`; sound is cut at the frame next to that (AAC:
        within 11 ms). HEVC is cut at key frames. What was broadcast may go: the clip stays."""
        made = await clips.of_broadcast(id, call.user, body, addresses.seen_from(call.request))
        call.note(clip=str(made.id), broadcast=str(id))
        return made

    @api.post(
        "/api/v1/videos/{id}/clips",
        access=Access.USER,
        status=202,
        idempotent=True,
        audit="clip.made",
        errors=(NoSuchVideo, *MAY_NOT, *MADE),
        summary="Make a clip of a video",
        example_body=VideoClipBody(from_=12.0, to=42.0, title="The best of it"),
    )
    async def of_video(call: Call, id: UUID, body: VideoClipBody) -> UploadedView:
        """As of a broadcast. A clip of a clip is one too."""
        made = await clips.of_video(id, call.user, body, addresses.seen_from(call.request))
        call.note(clip=str(made.id), video=str(id))
        return made

    @api.post(
        "/api/v1/videos/{id}/trim",
        access=Access.USER,
        status=202,
        if_match=True,
        audit="video.trimmed",
        errors=(NoSuchVideo, NotYourVideo, NotReady, AlreadyReplacing, BadStretch, Invalid),
        summary="Trim a video",
        example_body=TrimBody(keep=[KeptBody(from_=2.0, to=58.5)]),
    )
    async def trim(call: Call, id: UUID, body: TrimBody) -> UploadedView:
        """Keeps the stretches that are named, and the video's id with its likes, views and comments; captions and
        chapters follow, pictures are made anew. The answer is a draft, which takes the video's place once all of it is
        there: until then, and when it fails, the video is as it was (`replacement` tells how far it is and why it
        failed; DELETE or retry the draft by its id). **This cannot be undone**: afterwards the uploaded file is
        deleted, and what was cut off goes when nobody can be watching it any more."""
        draft = await clips.trim(id, call.user, body, addresses.seen_from(call.request), call.if_match)
        call.note(video=str(id), draft=str(draft.id))
        return draft

    @api.get("/api/v1/clips/mine", access=Access.USER, errors=(BadCursor,), summary="Your clips")
    async def mine(call: Call, query: PageQuery) -> Page[ClipView]:
        """The newest first."""
        return await clips.mine(call.user, query, addresses.seen_from(call.request))

    @api.delete(
        "/api/v1/clips/{id}",
        access=Access.USER,
        audit="clip.deleted",
        errors=(NoSuchClip, NotYourClip),
        summary="Delete a clip",
    )
    async def delete(call: Call, id: UUID) -> DeletedView:
        """By its maker, by the owner of what it is of, or by a moderator."""
        gone = await clips.delete(id, call.user)
        call.note(clip=str(id), freed_bytes=gone.freed_bytes)
        return gone

    @api.get("/api/v1/clips/rule", access=Access.USER, summary="Who may make clips of what is yours")
    async def rule(call: Call) -> RuleView:
        """`everybody` as long as you say nothing else. Of what not everybody may watch, only you may."""
        return await clips.rule(None, None, call.user)

    @api.put(
        "/api/v1/clips/rule",
        access=Access.USER,
        summary="Say who may make clips of what is yours",
        example_body=RuleBody(who=Who.FOLLOWERS),
    )
    async def set_rule(call: Call, body: RuleBody) -> RuleView:
        """Of all that has no rule of its own. Clips that were made stay."""
        return await clips.set_rule(None, None, call.user, body.who)

    _of_sources(api, clips, addresses, "/api/v1/live/{id}/clips", BROADCAST, NoSuchBroadcast)
    _of_sources(api, clips, addresses, "/api/v1/videos/{id}/clips", VIDEO, NoSuchVideo)
    return api


def _of_sources(
    api: Routes, clips: Clips, addresses: Addresses, path: str, kind: SourceKind, missing: type[Problem]
) -> None:
    """What is the same of a broadcast and of a video."""

    @api.get(
        path,
        access=Access.ANYONE,
        errors=(missing, *MAY_NOT, BadCursor),
        summary=f"Clips of a {kind}",
    )
    async def listed(call: Call, id: UUID, query: PageQuery) -> Page[ClipView]:
        """Public ones, and yours; the newest first. A page may have fewer than `limit` and still be followed by
        another."""
        return await clips.of_source(kind, id, call.caller, query, addresses.seen_from(call.request))

    @api.get(
        f"{path}/range",
        access=Access.ANYONE,
        errors=(missing, *MAY_NOT, NothingToClip),
        summary=f"What of a {kind} can be cut",
    )
    async def range_(call: Call, id: UUID) -> RangeView:
        """As of now, and whether you may; of what is on air `to` grows."""
        return await clips.range_of(kind, id, call.caller)

    @api.get(
        f"{path}/rule",
        access=Access.USER,
        errors=(missing, *MAY_NOT, ClipsNotAllowed),
        summary=f"Who may make clips of a {kind}",
    )
    async def rule(call: Call, id: UUID) -> RuleView:
        """For its owner."""
        return await clips.rule(kind, id, call.user)

    @api.put(
        f"{path}/rule",
        access=Access.USER,
        errors=(missing, *MAY_NOT, ClipsNotAllowed),
        summary=f"Say who may make clips of a {kind}",
        example_body=RuleBody(who=Who.OWNER),
    )
    async def set_rule(call: Call, id: UUID, body: RuleBody) -> RuleView:
        """Instead of what holds for all that is yours."""
        return await clips.set_rule(kind, id, call.user, body.who)
