"""Videos over HTTP: /api/v1/videos/…"""

from __future__ import annotations

from uuid import UUID

from server.kit.http import Access, Call, Page, PageQuery, Routes
from server.kit.problems import BadCursor, BodyTooLarge, Invalid, MalformedBody, RequestTimeout, Unavailable
from server.streaming.addresses import Addresses
from server.streaming.broadcasts.errors import NoSuchBroadcast, NotYours
from server.streaming.channels.models import ChannelSettings
from server.streaming.protection.errors import CannotProtect, NotProtected
from server.streaming.videos.captions import Captions
from server.streaming.videos.desk import Desk
from server.streaming.videos.errors import (
    AlreadyPublished,
    BadCaptions,
    BadChapters,
    BadLanguage,
    BadThumbnail,
    NoSuchCaptions,
    NoSuchThumbnail,
    NoSuchVideo,
    NotFailed,
    NothingRecorded,
    NotReady,
    NotYourVideo,
    QuotaReached,
    SourceGone,
    TooManyCaptions,
)
from server.streaming.videos.keeping import Keeping
from server.streaming.videos.models import (
    CaptionsBody,
    CaptionsText,
    DeletedView,
    LikeView,
    SearchQuery,
    UploadedView,
    VideoCard,
    VideoEdit,
    VideoView,
    ViewBody,
    ViewView,
    Visibility,
)
from server.streaming.videos.thumbnails import OwnThumbnails

PICTURES = ("image/jpeg", "image/png", "image/webp", "image/gif")
SUBTITLES = "1\n00:00:01,000 --> 00:00:03,500\nHello.\n"


def routes(desk: Desk, captions: Captions, thumbnails: OwnThumbnails, keeping: Keeping, addresses: Addresses) -> Routes:
    api = Routes("videos", "Videos on demand: what becomes of uploaded files.")

    @api.get("/api/v1/videos/feed", access=Access.ANYONE, etag=True, errors=(BadCursor,), summary="The newest videos")
    async def feed(call: Call, query: PageQuery) -> Page[VideoCard]:
        """Public ones that can be played, those published last first."""
        return await desk.feed(call.caller, query, addresses.seen_from(call.request))

    @api.get("/api/v1/videos/search", access=Access.ANYONE, errors=(BadCursor,), summary="Find videos")
    async def search(call: Call, query: SearchQuery) -> Page[VideoCard]:
        """Public videos with all these words in title or description; the last word may be the beginning of one. The
        best first, of the newest thousand that match."""
        return await desk.search(call.caller, query, addresses.seen_from(call.request))

    @api.get("/api/v1/videos/mine", access=Access.USER, etag=True, errors=(BadCursor,), summary="Your videos")
    async def mine(call: Call, query: PageQuery) -> Page[VideoCard]:
        """All of yours in every state, the newest first."""
        return await desk.mine(call.user, query, addresses.seen_from(call.request))

    @api.post(
        "/api/v1/live/{id}/video",
        access=Access.USER,
        status=202,
        errors=(NoSuchBroadcast, NotYours, NothingRecorded, QuotaReached),
        summary="Make a video of a recorded broadcast",
    )
    async def keep(call: Call, id: UUID) -> UploadedView:
        """The video that there is already, when there is one. What was recorded is taken as it is; sizes and sound that
        lack are made after that. The chat beside it stays that of the broadcast (`broadcast_id`). The recording and the
        video do not depend on each other from then on: either can be deleted."""
        video = await keeping.keep(id, call.user)
        return await desk.uploaded(video, call.user, addresses.seen_from(call.request))

    @api.get("/api/v1/live/channel", access=Access.USER, etag=True, summary="What is done with your broadcasts")
    async def channel(call: Call) -> ChannelSettings:
        """Whether recorded broadcasts become videos by themselves."""
        return await keeping.wanted(call.user)

    @api.put("/api/v1/live/channel", access=Access.USER, summary="Say what is done with your broadcasts")
    async def set_channel(call: Call, body: ChannelSettings) -> ChannelSettings:
        """From the next one that ends on. A video is as visible as its broadcast was then."""
        return await keeping.want(call.user, body)

    @api.get("/api/v1/videos/{id}", access=Access.ANYONE, etag=True, errors=(NoSuchVideo,), summary="One video")
    async def show(call: Call, id: UUID) -> VideoView:
        """`playback` is there once the lowest rendition is; `renditions` grows until `state` is `ready`. What only its
        owner is told is null for others, who do not see it at all before it is published."""
        return await desk.show(id, call.caller, addresses.seen_from(call.request))

    @api.put(
        "/api/v1/videos/{id}",
        access=Access.USER,
        if_match=True,
        errors=(
            NoSuchVideo,
            NotYourVideo,
            NoSuchThumbnail,
            BadChapters,
            AlreadyPublished,
            CannotProtect,
            NotReady,
            Invalid,
        ),
        summary="Edit a video",
        example_body=VideoEdit(title="A film", visibility=Visibility.PUBLIC),
    )
    async def edit(call: Call, id: UUID, body: VideoEdit) -> VideoView:
        """Only the fields that are sent change. With `If-Match` only what you have read is changed. `publish_at` in the
        future hides a video that is not published yet until then."""
        return await desk.edit(id, call.user, body, addresses.seen_from(call.request), call.if_match)

    @api.post(
        "/api/v1/videos/{id}/key",
        access=Access.USER,
        if_match=True,
        audit="video.key_changed",
        errors=(NoSuchVideo, NotYourVideo, NotProtected),
        summary="Encrypt a video with a new key",
    )
    async def new_key(call: Call, id: UUID) -> VideoView:
        """Of a video that is protected. The old key opens nothing from now on but what was fetched with it; who is
        watching loads the video anew."""
        return await desk.new_key(id, call.user, addresses.seen_from(call.request), call.if_match)

    @api.delete(
        "/api/v1/videos/{id}",
        access=Access.USER,
        if_match=True,
        audit="video.deleted",
        errors=(NoSuchVideo, NotYourVideo, NotReady),
        summary="Delete a video",
    )
    async def delete(call: Call, id: UUID) -> DeletedView:
        """In whatever state it is; work that is under way stops. Its files go within moments."""
        gone = await desk.delete(id, call.user, call.if_match)
        call.note(video=str(id), freed_bytes=gone.freed_bytes)
        return gone

    @api.post(
        "/api/v1/videos/{id}/retry",
        access=Access.USER,
        status=202,
        errors=(NoSuchVideo, NotYourVideo, NotFailed, SourceGone),
        summary="Try again what failed",
    )
    async def retry(call: Call, id: UUID) -> UploadedView:
        """What was done before is not done again."""
        return await desk.retry(id, call.user, addresses.seen_from(call.request))

    @api.post("/api/v1/videos/{id}/like", access=Access.USER, errors=(NoSuchVideo,), summary="Like a video")
    async def like(call: Call, id: UUID) -> LikeView:
        """Twice is once."""
        return await desk.like(id, call.user, liked=True)

    @api.delete("/api/v1/videos/{id}/like", access=Access.USER, errors=(NoSuchVideo,), summary="Like it no more")
    async def unlike(call: Call, id: UUID) -> LikeView:
        """That you did not is no error."""
        return await desk.like(id, call.user, liked=False)

    @api.post("/api/v1/videos/{id}/view", access=Access.ANYONE, errors=(NoSuchVideo,), summary="Say that it plays")
    async def view(call: Call, id: UUID, body: ViewBody) -> ViewView:
        """Say every ten seconds or so, and at each pause and jump, which stretch was played. By itself it counts
        nothing: what counts is what was delivered to this viewer and had the time to be played."""
        return await desk.viewed(id, call, body)

    @api.put(
        "/api/v1/videos/{id}/thumbnail",
        access=Access.USER,
        if_match=True,
        limits="upload",
        file_body=PICTURES,
        errors=(NoSuchVideo, NotYourVideo, BadThumbnail, BodyTooLarge, RequestTimeout, MalformedBody, Unavailable),
        summary="Upload a picture for a video",
    )
    async def thumbnail(call: Call, id: UUID) -> VideoView:
        """The body is the file: JPEG, PNG, WebP or GIF. It is cut to 16:9 and made anew. To choose one of `thumbnails`
        instead, PUT the video."""
        await thumbnails.put(id, call.user, await call.read_bytes(), call.if_match)
        return await desk.show(id, call.caller, addresses.seen_from(call.request))

    @api.get(
        "/api/v1/videos/{id}/captions/{language}",
        access=Access.USER,
        errors=(NoSuchVideo, NotYourVideo, NoSuchCaptions, BadLanguage),
        summary="Captions to edit",
    )
    async def captions_text(call: Call, id: UUID, language: str) -> CaptionsText:
        """As WebVTT."""
        return await captions.get(id, language, call.user)

    @api.put(
        "/api/v1/videos/{id}/captions/{language}",
        access=Access.USER,
        if_match=True,
        errors=(NoSuchVideo, NotYourVideo, BadCaptions, BadLanguage, TooManyCaptions),
        summary="Set captions",
        example_body=CaptionsBody(text=SUBTITLES, label="English"),
    )
    async def set_captions(call: Call, id: UUID, language: str, body: CaptionsBody) -> CaptionsText:
        """SubRip or WebVTT, in the place of those of the same language (BCP 47: `en`, `pt-BR`). Kept as WebVTT with
        times, positions and text; of markup `b`, `i` and `u` stay. Players find them within moments."""
        return await captions.put(id, language, call.user, body, call.if_match)

    @api.delete(
        "/api/v1/videos/{id}/captions/{language}",
        access=Access.USER,
        if_match=True,
        errors=(NoSuchVideo, NotYourVideo, NoSuchCaptions, BadLanguage),
        summary="Delete captions",
    )
    async def delete_captions(call: Call, id: UUID, language: str) -> None:
        await captions.delete(id, language, call.user, call.if_match)

    return api
