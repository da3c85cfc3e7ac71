"""From a request to values of declared types: body, query, path. Raises Problems, never anything else."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
from aiohttp import StreamReader, web

from server.kit.problems import (
    BodyTooLarge,
    Invalid,
    MalformedBody,
    NotFound,
    RequestTimeout,
    UnsupportedMediaType,
)

_UUID_LENGTH = 36
_DATE = re.compile(r"\d{4}-")
_MAX_DIGITS = 18  # below 2^63


class BytesReader:
    """Reads whole bodies of whatever type, and no more of them than it keeps."""

    def __init__(self, limit: int, timeout: float) -> None:
        """limit: bytes. timeout: seconds the whole body may take."""
        self._limit = limit
        self._timeout = timeout

    async def read(self, request: web.Request) -> bytes:
        """Raises BodyTooLarge, RequestTimeout, MalformedBody for one that breaks off."""
        content = request.content
        self.announced(request)
        try:
            data = content.read_nowait() if content.is_eof() else await self._gather(content)
        except TimeoutError:
            raise RequestTimeout(f"The body has to arrive within {self._timeout:g} s.") from None
        except (BodyTooLarge, asyncio.CancelledError):
            raise
        except Exception as error:  # aiohttp has many for chunks and connections that break off
            raise MalformedBody(f"The body could not be read: {type(error).__name__}") from error
        if len(data) > self._limit:
            raise self._too_large()
        return data

    def announced(self, request: web.Request) -> None:
        """Raises BodyTooLarge when its head says already that it is."""
        length = request.content_length
        if length is not None and length > self._limit:
            raise self._too_large()

    async def _gather(self, content: StreamReader) -> bytes:
        data = bytearray()
        async with asyncio.timeout(self._timeout):
            while chunk := await content.readany():
                data += chunk
                if len(data) > self._limit:
                    raise self._too_large()
        return bytes(data)

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(f"The body may have {self._limit} bytes at most.", limit=self._limit)


class BodyReader:
    """Decodes JSON bodies into one struct type."""

    def __init__(self, kind: type[msgspec.Struct], body: BytesReader) -> None:
        self._decoder = msgspec.json.Decoder(kind)
        self._body = body
        self._optional = not any(field.required for field in msgspec.structs.fields(kind))
        self._kind = kind

    async def read(self, request: web.Request) -> msgspec.Struct:
        self._body.announced(request)
        if not request.can_read_body and self._optional:
            return self._kind()
        _check_type(request)
        return self._decode(await self._body.read(request))

    def _decode(self, data: bytes) -> msgspec.Struct:
        try:
            body = self._decoder.decode(data)
        except msgspec.ValidationError as error:
            raise Invalid.from_msgspec(error, "body") from None
        except msgspec.DecodeError as error:
            raise MalformedBody(str(error)) from None
        except UnicodeDecodeError:
            raise MalformedBody("JSON is UTF-8 (RFC 8259, section 8.1)") from None
        except RecursionError:
            raise MalformedBody("The JSON is nested too deeply") from None
        if b"\\u0000" in data or b"\x00" in data:
            _refuse_nul(msgspec.json.decode(data))
        return body


class QueryReader:
    """Decodes query strings into one struct type with scalar fields."""

    def __init__(self, kind: type[msgspec.Struct]) -> None:
        self._kind = kind
        self._names = {field.encode_name for field in msgspec.structs.fields(kind)}
        self._moments = [
            (field.name, field.encode_name)
            for field in msgspec.structs.fields(kind)
            if _may_be_moment(msgspec.inspect.type_info(field.type))
        ]
        optional = not any(field.required for field in msgspec.structs.fields(kind))
        self._empty = kind() if optional and kind.__struct_config__.frozen else None

    def read(self, request: web.Request) -> msgspec.Struct:
        if not request.query_string and self._empty is not None:
            return self._empty
        values: dict[str, str] = {}
        for name, value in request.query.items():
            if name not in self._names:
                continue
            if name in values:
                raise Invalid.at(name, "is given twice", "query")
            if not _storable(value):
                raise Invalid.at(name, "has characters that are not text", "query")
            values[name] = value
        for _, name in self._moments:  # msgspec takes numbers in texts, too: seconds since 1970
            if name in values and not _DATE.match(values[name]):
                raise Invalid.at(name, "is a time as 2026-05-17T12:00:00Z (RFC 3339)", "query")
        try:
            query = msgspec.convert(values, self._kind, strict=False)
        except msgspec.ValidationError as error:
            raise Invalid.from_msgspec(error, "query") from None
        for attribute, name in self._moments:
            if not _within_calendar(getattr(query, attribute)):
                raise Invalid.at(name, "is a time outside the years 1 to 9999 (UTC)", "query")
        return query


def path_reader(kind: type) -> Callable[[str], Any]:
    """Text of the path to UUID, int or str. What can be no such value names nothing: NotFound."""
    return {UUID: _uuid, int: _int, str: _text}[kind]


def _uuid(text: str) -> UUID:
    if len(text) != _UUID_LENGTH:
        raise NotFound("There is nothing with that id: ids are UUIDs.")
    try:
        return UUID(text)
    except ValueError:
        raise NotFound("There is nothing with that id: ids are UUIDs.") from None


def _int(text: str) -> int:
    if len(text) > _MAX_DIGITS or not (text.isascii() and text.isdigit()):
        raise NotFound("There is nothing with that number.")
    return int(text)


def _text(text: str) -> str:
    if not _storable(text):
        raise NotFound("There is nothing with that name.")
    return text


def _may_be_moment(kind: msgspec.inspect.Type) -> bool:
    match kind:
        case msgspec.inspect.Metadata(type=inner):
            return _may_be_moment(inner)
        case msgspec.inspect.UnionType(types=kinds):
            return any(_may_be_moment(inner) for inner in kinds)
    return isinstance(kind, msgspec.inspect.DateTimeType)


def _within_calendar(moment: datetime | None) -> bool:
    """Whether it can be told in UTC: the offset of 9999-12-31T23:59:59-23:59 leads out of the calendar."""
    if moment is None or moment.tzinfo is None:
        return True
    with suppress(OverflowError):
        moment.astimezone(UTC)
        return True
    return False


def _storable(text: str) -> bool:
    """Whether PostgreSQL can keep it: no NUL, no half of a surrogate pair."""
    if "\x00" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_type(request: web.Request) -> None:
    kind = request.content_type
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise UnsupportedMediaType("Send JSON with Content-Type: application/json.")
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise UnsupportedMediaType("Send the body without Content-Encoding.")


def _refuse_nul(value: Any) -> None:
    if isinstance(value, str):
        if "\x00" in value:
            raise Invalid.at("$", "text cannot have the character U+0000")
    elif isinstance(value, list):
        for item in value:
            _refuse_nul(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            _refuse_nul(key)
            _refuse_nul(item)
