"""Uploading videos: resumable by tus 1.0.0, or in one multipart request."""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

from aiohttp import hdrs

from server.kit.auth import Caller
from server.kit.http import Access, Call, Routes
from server.kit.problems import (
    BadIdempotencyKey,
    IdempotencyInProgress,
    IdempotencyKeyReused,
    Invalid,
    UnsupportedMediaType,
)
from server.streaming.addresses import Address, Addresses
from server.streaming.uploads import protocol
from server.streaming.uploads.body import Pace, blocks
from server.streaming.uploads.errors import (
    BadUpload,
    BrokenBody,
    NoRoom,
    NoSuchUpload,
    NotAVideo,
    NotByPatch,
    NotComplete,
    TooManyUploads,
    TooSlow,
    UploadComplete,
    UploadGone,
    UploadLocked,
    UploadTooLarge,
    WrongChecksum,
    WrongOffset,
    WrongVersion,
)
from server.streaming.uploads.form import Form
from server.streaming.uploads.models import Details, Kind, State, Upload
from server.streaming.uploads.service import Uploads
from server.streaming.videos.errors import AlreadyReplacing, NoSuchVideo, NotReady, NotYourVideo, QuotaReached
from server.streaming.videos.models import UploadedView

PATH = "/api/v1/videos/tus"
_ROOM = (TooManyUploads, NoRoom, QuotaReached, UploadTooLarge)
_REPLACING = (NoSuchVideo, NotYourVideo, NotReady, AlreadyReplacing)
_BYTES = (UnsupportedMediaType, NotAVideo, TooSlow, BrokenBody, WrongChecksum, UploadLocked, WrongOffset)
_FORM = (
    UnsupportedMediaType,
    NotAVideo,
    TooSlow,
    BrokenBody,
    Invalid,
    BadIdempotencyKey,
    IdempotencyInProgress,
    IdempotencyKeyReused,
)
_FOUND = (NoSuchUpload, UploadGone, WrongVersion, BadUpload)


class Desk(Protocol):
    """Shows a video as an upload answers it, and knows whose file may be replaced."""

    async def may_replace(self, id: UUID, caller: Caller) -> None: ...

    async def uploaded(self, id: UUID, caller: Caller, address: Address) -> UploadedView: ...


def routes(uploads: Uploads, form: Form, desk: Desk, addresses: Addresses) -> Routes:
    api = Routes(tag="videos")
    options = uploads.options

    def speak(call: Call) -> None:
        call.headers["Tus-Resumable"] = protocol.VERSION
        protocol.check_version(call.request.headers)

    def tell(call: Call, upload: Upload) -> None:
        call.headers["Upload-Offset"] = str(upload.received)
        if upload.state is State.OPEN:
            call.headers["Upload-Expires"] = protocol.http_date(upload.expires_at)

    async def append(call: Call, upload_id: UUID, offset: int, length: int | None) -> None:
        request = call.request
        if request.content_type != protocol.OFFSET_TYPE:
            raise UnsupportedMediaType(f"Send Content-Type: {protocol.OFFSET_TYPE}.")
        upload = await uploads.append(
            call.user,
            upload_id,
            offset,
            blocks(request.content, Pace(options.least_rate, options.window)),
            coming=request.content_length,
            length=length,
            checksum=protocol.checksum(request.headers),
        )
        tell(call, upload)

    async def ask(call: Call, id: UUID) -> None:
        upload = await uploads.find(call.user, id)
        if upload.kind is Kind.FORM:
            raise NoSuchUpload()
        tell(call, upload)
        if upload.length is None:
            call.headers["Upload-Defer-Length"] = "1"
        else:
            call.headers["Upload-Length"] = str(upload.length)
        if upload.metadata:
            call.headers["Upload-Metadata"] = upload.metadata
        if upload.kind is Kind.PARTIAL:
            call.headers["Upload-Concat"] = "partial"
        elif upload.kind is Kind.FINAL:
            call.headers["Upload-Concat"] = "final;" + " ".join(f"{PATH}/{piece}" for piece in upload.pieces)

    async def patched(call: Call, id: UUID) -> None:
        offset = protocol.number(call.request.headers, "Upload-Offset")
        if offset is None:
            raise BadUpload("Send Upload-Offset: where these bytes belong.")
        await append(call, id, offset, protocol.number(call.request.headers, "Upload-Length"))

    @api.options(PATH, access=Access.OPEN, status=204, limits="none", summary="What of tus is spoken")
    async def describe(call: Call) -> None:
        """Tus-Version, Tus-Extension, Tus-Max-Size (bytes), Tus-Checksum-Algorithm."""
        call.headers["Tus-Resumable"] = call.headers["Tus-Version"] = protocol.VERSION
        call.headers["Tus-Extension"] = ",".join(protocol.EXTENSIONS)
        call.headers["Tus-Max-Size"] = str(options.most_bytes)
        call.headers["Tus-Checksum-Algorithm"] = ",".join(protocol.ALGORITHMS)

    @api.post(
        PATH,
        status=201,
        access=Access.USER,
        file_body=(protocol.OFFSET_TYPE,),
        errors=(*_ROOM, *_REPLACING, *_BYTES, *_FOUND, NotComplete, UploadComplete, Invalid),
        summary="Begin a resumable upload",
    )
    async def create(call: Call) -> None:
        """tus 1.0.0, creation: `Upload-Length` in bytes (or `Upload-Defer-Length: 1`); `Upload-Metadata` with any of
        title, description, visibility, filename, or `replaces` (see PUT
        /api/v1/videos/{id}/file); `Upload-Concat` for files that are brought in parts at once. The
        first bytes may be the body. `Location` is the upload, which expires when nothing comes for a day."""
        speak(call)
        headers = call.request.headers
        # before anything is made of it
        text = headers.get("Upload-Metadata", "")
        given = protocol.metadata(text)
        partial, pieces = protocol.concatenation(headers, PATH)
        brings = call.request.can_read_body and call.request.content_length != 0
        if brings and (pieces or call.request.content_type != protocol.OFFSET_TYPE):
            raise UnsupportedMediaType(f"A body here is the first bytes, as {protocol.OFFSET_TYPE}.")
        protocol.checksum(headers)
        if pieces:
            if "Upload-Length" in headers:
                raise BadUpload("A final upload is as long as its parts: leave Upload-Length out.")
            upload = await uploads.join(call.user, pieces, Details.of(given), text)
        elif partial:
            upload = await uploads.create_part(call.user, protocol.length(headers), text)
        else:
            upload = await uploads.create(call.user, protocol.length(headers), Details.of(given), text)
        call.headers["Location"] = f"{PATH}/{upload.id}"
        tell(call, upload)
        if brings:
            await append(call, upload.id, 0, None)

    @api.head(
        PATH + "/{upload_id}",
        access=Access.USER,
        limits="read",
        status=200,
        errors=_FOUND,
        summary="Where an upload is",
    )
    async def head(call: Call, upload_id: UUID) -> None:
        """`Upload-Offset`: so many bytes are safe, whatever happens; go on there."""
        speak(call)
        await ask(call, upload_id)

    @api.patch(
        PATH + "/{upload_id}",
        access=Access.USER,
        file_body=(protocol.OFFSET_TYPE,),
        errors=(*_ROOM, *_BYTES, *_FOUND, UploadComplete, NotByPatch),
        summary="Bring bytes",
    )
    async def patch(call: Call, upload_id: UUID) -> None:
        """The body goes to `Upload-Offset`, which has to be where the upload is. With `Upload-Checksum` (sha1, sha256,
        sha512) all of it is kept or nothing."""
        speak(call)
        await patched(call, upload_id)

    @api.delete(
        PATH + "/{upload_id}", access=Access.USER, errors=(*_FOUND, UploadComplete), summary="Take an upload back"
    )
    async def terminate(call: Call, upload_id: UUID) -> None:
        """Nothing of it stays, neither bytes nor the video."""
        speak(call)
        await uploads.terminate(call.user, upload_id)

    @api.post(
        PATH + "/{upload_id}",
        access=Access.USER,
        file_body=(protocol.OFFSET_TYPE,),
        errors=(*_ROOM, *_BYTES, *_FOUND, UploadComplete, NotByPatch),
        summary="The same where only POST goes through",
    )
    async def override(call: Call, upload_id: UUID) -> None:
        """`X-HTTP-Method-Override`: PATCH, HEAD or DELETE."""
        speak(call)
        method = call.request.headers.get("X-HTTP-Method-Override", "").strip().upper()
        if method == hdrs.METH_PATCH:
            await patched(call, upload_id)
        elif method == hdrs.METH_HEAD:
            await ask(call, upload_id)
        elif method == hdrs.METH_DELETE:
            await uploads.terminate(call.user, upload_id)
        else:
            await uploads.find(call.user, upload_id)
            raise BadUpload("X-HTTP-Method-Override takes PATCH, HEAD or DELETE.")

    @api.post(
        "/api/v1/videos/upload",
        status=202,
        access=Access.USER,
        limits="upload",
        file_body=("multipart/form-data",),
        errors=(*_ROOM, *_FORM),
        summary="Upload a video in one request",
    )
    async def upload(call: Call) -> UploadedView:
        """multipart/form-data with the file as `file`, and `title`, `description` and `visibility` before or after it.
        The video is there when all has come; if the connection breaks, nothing is. Large files are better brought by
        tus (`/api/v1/videos/tus`). With `Idempotency-Key` a second request makes no second video."""
        video_id = await form.receive(call)
        return await desk.uploaded(video_id, call.user, addresses.seen_from(call.request))

    @api.put(
        "/api/v1/videos/{id}/file",
        status=202,
        access=Access.USER,
        limits="upload",
        file_body=("multipart/form-data",),
        errors=(*_ROOM, *_REPLACING, *_FORM),
        summary="Replace the file of a video",
    )
    async def replace(call: Call, id: UUID) -> UploadedView:
        """multipart/form-data with the file as `file`; by tus the same with `replaces` (the id) among the metadata.
        What is answered is the new file's: it has an id of its own until it takes the place of the old one, once all
        that is made of it is there; `replacement` of the video says how far it is. The video keeps its id, likes,
        comments, views and captions, and who is watching goes on with the old file. A file that fails changes
        nothing; DELETE of its id takes it back. Until then the bytes of both count."""
        await desk.may_replace(id, call.user)
        draft = await form.receive(call, id)
        return await desk.uploaded(draft, call.user, addresses.seen_from(call.request))

    return api
