"""A form as it comes, part by part (RFC 7578). Keeps nothing of it; dies with the request."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from urllib.parse import unquote

from multipart import (  # type: ignore[import-untyped]
    MultipartError,
    MultipartSegment,
    PushMultipartParser,
    parse_options_header,
)

from server.kit.problems import Invalid
from server.streaming.uploads.errors import UploadTooLarge

_LONGEST_BOUNDARY = 70  # RFC 2046, section 5.1.1
_MOST_PARTS = 20
_EXTENDED = re.compile(r"filename\*=utf-8''([^;\s]*)", re.IGNORECASE)


class Part:
    """One field or file. name, filename: as the client says. Its bytes are read once, before the next part."""

    def __init__(self, segment: MultipartSegment, events: AsyncIterator[MultipartSegment | bytes | None]) -> None:
        self._events = events
        self.name: str = segment.name or ""
        self.filename: str = segment.filename or _extended(segment.header("Content-Disposition", ""))
        self.encoding: str = segment.header("Content-Transfer-Encoding", "binary").lower()
        if segment.header("Content-Encoding"):
            self.encoding = segment.header("Content-Encoding")

    async def blocks(self) -> AsyncIterator[bytes]:
        async for event in self._events:
            if not isinstance(event, bytes):
                return  # the end of the part
            yield event


class FormParts:
    def __init__(self, content_type: str, blocks: AsyncIterator[bytes], *, most: int) -> None:
        """blocks: the body; most: bytes that it may have. Raises Invalid when the type tells no usable boundary."""
        boundary = parse_options_header(content_type)[1].get("boundary", "")
        if not boundary or len(boundary) > _LONGEST_BOUNDARY or not boundary.isascii() or not boundary.isprintable():
            raise Invalid.at("Content-Type", "has no boundary that can be used", "header")
        self._parser = PushMultipartParser(boundary, max_segment_count=_MOST_PARTS)
        self._most = most
        self._events = self._read(blocks)

    async def next(self) -> Part | None:
        """The next part, when the bytes of the last were read; None when the form is over, to the body's end. Raises
        what reading raises, Invalid when this is no form, UploadTooLarge."""
        async for event in self._events:
            if isinstance(event, MultipartSegment):
                return Part(event, self._events)
        return None

    async def _read(self, blocks: AsyncIterator[bytes]) -> AsyncIterator[MultipartSegment | bytes | None]:
        size = 0
        try:
            async for block in blocks:
                size += len(block)
                if size > self._most:  # also of what stands before and behind the parts
                    raise UploadTooLarge(f"The form may have {self._most} bytes.", limit=self._most)
                for event in self._parser.parse(block):
                    yield event
            self._parser.close()
        except MultipartError as error:
            raise Invalid.at("$", f"is no whole multipart/form-data: {error}") from None


def _extended(disposition: str) -> str:
    """A name as RFC 5987 has it: not for forms, but some clients do."""
    found = _EXTENDED.search(disposition)
    return unquote(found[1]) if found else ""
