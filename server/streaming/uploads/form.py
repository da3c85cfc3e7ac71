"""POST /videos/upload: one multipart/form-data request (RFC 7578), read as it comes. Dies with the request."""

from __future__ import annotations

from uuid import UUID

import asyncpg

from server.kit.http import Call
from server.kit.http.idempotency import REPLAYED, read_key
from server.kit.problems import IdempotencyInProgress, IdempotencyKeyReused, Invalid, UnsupportedMediaType
from server.streaming.uploads.body import Pace, blocks
from server.streaming.uploads.errors import UploadTooLarge
from server.streaming.uploads.formparts import FormParts, Part
from server.streaming.uploads.models import Details, State, Upload
from server.streaming.uploads.service import Uploads

FILE = "file"
FIELDS = {"title": 1024, "description": 32 * 1024, "visibility": 64}
"""Bytes that each may have; the characters are counted later."""
_OVERHEAD = 64 * 1024
"""Bytes of a request that are not the file: fields, and what stands between the parts."""
_PLAIN = ("binary", "7bit", "8bit")


class Form:
    def __init__(self, uploads: Uploads) -> None:
        self._uploads = uploads

    async def receive(self, call: Call, replaces: UUID | None = None) -> UUID:
        """The video that the request has brought, or that an earlier one with its key had. replaces: the video in whose
        place the file is to come; what is given back is the draft then. Raises what the service
        raises, Invalid, UnsupportedMediaType, TooSlow, BrokenBody, IdempotencyInProgress, IdempotencyKeyReused."""
        request = call.request
        if request.content_type != "multipart/form-data":
            raise UnsupportedMediaType("Send multipart/form-data, with the file as the field `file`.")
        most = self._uploads.options.most_bytes
        if request.content_length is not None and request.content_length > most + _OVERHEAD:
            raise UploadTooLarge(f"A file may have {most} bytes.", limit=most)
        key = read_key(request)
        if key is not None and (earlier := await self._uploads.earlier_form(call.user, key)) is not None:
            return self._again(call, earlier)
        pace = Pace(self._uploads.options.least_rate, self._uploads.options.window)
        parts = FormParts(request.headers["Content-Type"], blocks(request.content, pace), most=most + _OVERHEAD)
        async with self._uploads.form_room(call.user):
            try:
                upload = await self._uploads.begin_form(call.user, key, request.content_length, new=replaces is None)
            except asyncpg.UniqueViolationError:
                raise _in_progress() from None
            try:
                return await self._take(call, upload, parts, replaces)
            except BaseException:
                # also when the handler is cancelled: nothing may stay
                await self._uploads.drop_form(upload)
                raise

    def _again(self, call: Call, earlier: Upload) -> UUID:
        if earlier.sent_bytes != call.request.content_length:
            raise IdempotencyKeyReused("Another request was made with this key. Take a new key for a new request.")
        if earlier.video_id is None or earlier.state is State.OPEN:
            raise _in_progress()
        call.headers[REPLAYED] = "true"
        return earlier.video_id

    async def _take(self, call: Call, upload: Upload, parts: FormParts, replaces: UUID | None) -> UUID:
        fields: dict[str, str] = {}
        received: Upload | None = None
        while (part := await parts.next()) is not None:
            if not part.name:
                raise Invalid.at(FILE, "a part of the form has no name")
            if part.encoding not in _PLAIN:  # RFC 7578, section 4.7
                raise Invalid.at(part.name[:100], "is encoded, which forms are not")
            if part.name == FILE:
                if received is not None:
                    raise Invalid.at(FILE, "is given twice")
                fields.setdefault("filename", part.filename[:500])
                received = await self._uploads.receive_form(call.user, upload, part.blocks(), new=replaces is None)
            elif part.name in FIELDS and part.name not in fields:
                fields[part.name] = await _text(part, FIELDS[part.name])
            else:
                raise Invalid.at(part.name[:100], "is given twice, or is no field of this form")
        if received is None or received.received == 0:
            raise Invalid.at(FILE, "is missing or empty")
        details = Details.of({**fields, **({"replaces": str(replaces)} if replaces is not None else {})})
        return await self._uploads.complete_form(call.user, received, details)


async def _text(part: Part, most: int) -> str:
    data = bytearray()
    async for block in part.blocks():
        data += block
        if len(data) > most:
            raise Invalid.at(part.name, f"has more than {most} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise Invalid.at(part.name, "is not UTF-8") from None


def _in_progress() -> IdempotencyInProgress:
    return IdempotencyInProgress("A request with this key is still at work; repeat it in a moment.", retry_after=5)
