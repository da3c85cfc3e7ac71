"""What comes in pieces, for an S3 server: an object for each 5 MiB, and one for the tail that is shorter.

A multipart upload of S3's own would be lost with the server's memory of it, and cannot keep a tail: so one is made only
at the end, of the pieces, by copying inside the store, or through here where it cannot copy. The piece that is growing
is in a file without a name under `scratch`: memory stays flat however many come at once.

Keys under a place: `00000`, `00001`… are whole; `00002.1234` is a tail of 1234 bytes.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import IO, TypeVar

from botocore.exceptions import ClientError  # type: ignore[import-untyped]

from storage.objects.parts import Lost, Piece
from storage.objects.s3 import S3Store, code_of
from storage.objects.store import StoreError, check_key

T = TypeVar("T")

PART = 5 * 1024 * 1024
"""The least that S3 takes as a part that is not the last."""
_ATTEMPTS = 3
_COPIES = 8
"""Copied inside the store at once."""


class S3Parts:
    def __init__(self, store: S3Store, scratch: Path, *, part: int = PART) -> None:
        self._store = store
        self._scratch = scratch
        self._part = part
        self._copies = True

    async def open(self, place: str, offset: int) -> S3Appender:
        number, tail = divmod(offset, self._part)
        kept = _tail(place, number, tail) if tail else None
        left_over = []
        there = dict([item async for item in self._store.list(check_key(place) + "/")])
        for key in there:
            if "." in key.rpartition("/")[2] and key != kept:
                left_over.append(key)
        for n in range(number):
            if there.get(_whole(place, n)) != self._part:
                raise Lost(n * self._part)
        data = b""
        if kept is not None:
            found = await self._store.get(kept)
            if found is None or len(found) != tail:
                raise Lost(number * self._part)
            data = found
        if left_over:
            await self._store.delete(left_over)
        file = await _in_thread(lambda: _scratch_file(self._scratch, data))
        digest = await asyncio.to_thread(hashlib.md5, data, usedforsecurity=False)
        return S3Appender(self._store, place, file, number, tail, digest, self._part)

    async def complete(self, pieces: Sequence[Piece], key: str, content_type: str) -> None:
        check_key(key)
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                await _Joining(self._store, key, self._part, copies=self._copies).run(pieces, content_type)
                return
            except _CannotCopyError:
                self._copies = False
            except StoreError as error:
                # the store has forgotten what it began; the pieces are there still
                if attempt == _ATTEMPTS or code_of(error.__cause__) != "NoSuchUpload":
                    raise

    async def abort(self, place: str) -> int:
        return await self._store.delete_prefix(check_key(place) + "/")


class S3Appender:
    def __init__(
        self, store: S3Store, place: str, file: IO[bytes], number: int, size: int, digest: hashlib._Hash, part: int
    ) -> None:
        """file: the piece that is growing, with `size` bytes, whose digest it is."""
        self._store = store
        self._place = place
        self._file = file
        self._number = number
        self._size = self._kept = size
        self._part = part
        self._digest = digest
        self._work: asyncio.Future[object] | None = None

    async def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            piece = view[: self._part - self._size]
            await self._do(lambda piece=piece: self._add(piece))  # type: ignore[misc]
            view = view[len(piece) :]
            if self._size == self._part:
                await self._send(_whole(self._place, self._number))
                self._number += 1
                self._size = self._kept = 0
                self._digest = hashlib.md5(usedforsecurity=False)
                await self._do(lambda: self._file.truncate(0))

    async def checkpoint(self) -> int:
        return self._number * self._part + self._kept

    async def keep(self) -> int:
        if self._size != self._kept:
            await self._send(_tail(self._place, self._number, self._size))
            self._kept = self._size
        return await self.checkpoint()

    async def close(self) -> None:
        if self._work is not None and not self._work.done():
            await asyncio.wait({self._work})
        await asyncio.to_thread(self._file.close)

    def _add(self, piece: memoryview) -> None:
        self._file.seek(self._size)
        self._file.write(piece)
        self._digest.update(piece)
        self._size += len(piece)

    async def _send(self, key: str) -> None:
        await self._do(lambda: self._file.seek(0))
        await self._store.put_open(key, self._file, self._size, self._digest.digest())

    async def _do(self, work: Callable[[], object]) -> None:
        self._work = asyncio.ensure_future(_in_thread(work))
        await asyncio.shield(self._work)


class _CannotCopyError(Exception):
    """The store makes no part of an object that it has. Some say so; some make an empty part and give no tag for it,
    which then cannot be replaced."""


class _Joining:
    """One attempt to make an object of pieces, by a multipart upload. copies: let the store copy."""

    def __init__(self, store: S3Store, key: str, part: int, *, copies: bool) -> None:
        self._store = store
        self._name = {"Bucket": store.bucket, "Key": key}
        self._key = key
        self._part = part
        self._copies = copies
        self._upload = ""
        self._reading = asyncio.Lock()  # what is read is in memory: one part at a time

    async def run(self, pieces: Sequence[Piece], content_type: str) -> None:
        total = sum(piece.size for piece in pieces)
        planned = _grouped([item async for item in self._objects(pieces)], self._part)
        with self._store.said(f"put {self._key}"):
            answer = await self._store.client.create_multipart_upload(**self._name, ContentType=content_type)
            self._upload = answer["UploadId"]
            try:
                tags = await self._parts(planned)
                made = [{"PartNumber": number, "ETag": tag} for number, tag in enumerate(tags, 1)]
                await self._store.client.complete_multipart_upload(
                    **self._name, UploadId=self._upload, MultipartUpload={"Parts": made}
                )
            except BaseException:
                await self._store.forget_upload(self._key, self._upload)
                raise
        size = await self._store.size(self._key)
        if size != total:
            raise StoreError(f"{self._key} has {size} bytes in the store, not {total}")

    async def _objects(self, pieces: Sequence[Piece]) -> AsyncIterator[tuple[str, int]]:
        """Those that make up the whole, with their sizes, all of them seen. Raises Lost."""
        before = 0
        for place, size in pieces:
            there = dict([item async for item in self._store.list(check_key(place) + "/")])
            number, tail = divmod(size, self._part)
            wanted = [(_whole(place, n), self._part) for n in range(number)]
            wanted += [(_tail(place, number, tail), tail)] if tail else []
            for n, (key, length) in enumerate(wanted):
                if there.get(key) != length:
                    raise Lost(before + n * self._part)
                yield key, length
            before += size

    async def _parts(self, planned: list[list[str]]) -> list[str]:
        """Their tags, in order."""
        tags: list[str] = []
        for begin in range(0, len(planned), _COPIES):
            work = [self._make(begin + n + 1, keys) for n, keys in enumerate(planned[begin : begin + _COPIES])]
            done = await asyncio.gather(*work, return_exceptions=True)
            for tag in done:
                if isinstance(tag, BaseException):
                    raise tag
                tags.append(tag)
        return tags

    async def _make(self, number: int, keys: list[str]) -> str:
        if self._copies and len(keys) == 1:
            return await self._copy(number, keys[0])
        async with self._reading:
            data = bytearray()
            for key in keys:
                found = await self._store.get(key)
                if found is None:
                    raise StoreError(f"{key} is not in the store any more")
                data += found
            return await self._store.put_part(self._key, self._upload, number, bytes(data))

    async def _copy(self, number: int, key: str) -> str:
        source = {"Bucket": self._store.bucket, "Key": key}
        try:
            answer = await self._store.client.upload_part_copy(
                **self._name, UploadId=self._upload, PartNumber=number, CopySource=source
            )
        except ClientError as error:
            if code_of(error) in ("NotImplemented", "MethodNotAllowed", "InvalidRequest"):
                raise _CannotCopyError() from error
            raise
        tag = str(answer.get("CopyPartResult", {}).get("ETag") or "")
        if not tag:
            raise _CannotCopyError()
        return tag


def _grouped(objects: list[tuple[str, int]], least: int) -> list[list[str]]:
    """Parts, each of as many objects as it takes not to be too short; the last may be."""
    groups: list[list[str]] = []
    size = least
    for key, length in objects:
        if size >= least:
            groups.append([])
            size = 0
        groups[-1].append(key)
        size += length
    return groups


def _whole(place: str, number: int) -> str:
    return f"{place}/{number:05}"


def _tail(place: str, number: int, size: int) -> str:
    return f"{place}/{number:05}.{size}"


def _scratch_file(folder: Path, data: bytes) -> IO[bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=folder)
    os.unlink(name)  # gone with the process
    file = open(handle, "w+b", buffering=0)  # noqa: SIM115  the appender's
    file.write(data)
    return file


async def _in_thread(work: Callable[[], T]) -> T:
    try:
        return await asyncio.to_thread(work)
    except OSError as error:
        raise StoreError(f"the scratch file of an upload: {error.strerror or error}") from error
