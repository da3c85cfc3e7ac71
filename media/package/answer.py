"""What a media URL answers, independent of any HTTP server."""

from __future__ import annotations

from dataclasses import dataclass

IMMUTABLE = 31_536_000
"""max_age of what never changes under its name, s."""

HLS = "application/vnd.apple.mpegurl"
DASH = "application/dash+xml"
TEXT = "text/plain; charset=utf-8"
VIDEO = "video/mp4"
AUDIO = "audio/mp4"


@dataclass(frozen=True, slots=True)
class Answer:
    """status: HTTP status. body: bytes, or chunks to send one after the other. max_age: s; immutable from IMMUTABLE up,
    0: not to be stored. gzip: the same body as one gzip member, when that pays."""

    status: int
    body: bytes | tuple[bytes, ...]
    content_type: str
    max_age: int
    gzip: bytes | None = None


def refusal(status: int, sentence: str, max_age: int = 0) -> Answer:
    return Answer(status, sentence.encode(), TEXT, max_age)


NOT_FOUND = refusal(404, "There is no such file in this broadcast.\n", max_age=1)
ENDED = refusal(404, "The broadcast ended before this part was made.\n", max_age=1)
TOO_LATE = refusal(503, "Nothing new came in time; ask again.\n")
