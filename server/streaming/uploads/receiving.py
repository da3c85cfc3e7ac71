"""One request's bytes on their way into the store: looked at, counted, kept. Dies with the request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from uuid import UUID

from media.vod.errors import BadSource
from media.vod.source import HEAD, sniff
from server.kit.auth import Caller
from server.kit.problems import Unauthorized
from server.streaming.uploads.errors import BrokenBody, NotAVideo, TooSlow, UploadTooLarge, WrongChecksum
from server.streaming.uploads.protocol import Checksum
from storage.objects import Appender, Behind

Record = Callable[[int, bytes, bool], Awaitable[None]]
"""Remembers an offset and the first bytes, and whether that is this request's last word; raises when the upload is not
this request's any more."""


def look(head: bytes) -> None:
    """By content alone. Raises NotAVideo."""
    try:
        sniff(head)
    except BadSource as error:
        raise NotAVideo(error.reason) from None


class Bringing:
    """Who brings the bytes of a request, and whether he still may: tokens are looked at when a request begins, and this
    one may last for hours."""

    def __init__(self, caller: Caller) -> None:
        self._ids = {caller.user_id, caller.session_id}
        self._over = False

    def end(self, ids: Collection[UUID]) -> None:
        """Of sessions, keys and accounts whose tokens mean something else now, or nothing."""
        self._over = self._over or not self._ids.isdisjoint(ids)

    async def blocks(self, blocks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Raises Unauthorized at the next block. What was recorded is there for whoever signs in again."""
        async for block in blocks:
            if self._over:
                raise Unauthorized("This session has ended; sign in again, and go on with the upload.")
            yield block


class _Sum:
    """What a client says the sum of a request's bytes is, and what it is: reckoned by a thread, beside the writing."""

    def __init__(self, checksum: Checksum) -> None:
        self._told = checksum
        self._digest = checksum.begin()
        self._behind = Behind(self._add)

    async def put(self, block: bytes) -> None:
        await self._behind.put(block)

    async def check(self) -> None:
        """Raises WrongChecksum."""
        await self._behind.done()
        if self._digest.digest() != self._told.digest:
            raise WrongChecksum(f"The {self._told.algorithm} of what came is another: send these bytes again.")

    async def close(self) -> None:
        await self._behind.close()

    def _add(self, blocks: Sequence[bytes]) -> None:
        for block in blocks:
            self._digest.update(block)


class Receiving:
    def __init__(
        self,
        appender: Appender,
        record: Record,
        *,
        offset: int,
        head: bytes,
        most: int,
        end: int | None,
        judges: bool,
        checkpoint: float,
        checksum: Checksum | None = None,
    ) -> None:
        """most: bytes of the whole file; end: its length, where it is known. judges: the first bytes have to be those
        of a video. checkpoint: s between two records. With a checksum nothing is kept before all is there."""
        self._appender = appender
        self._record = record
        self._at = offset
        self._head = head
        self._most = most
        self._end = end
        self._judges = judges
        self._judged = len(head) >= HEAD
        self._checkpoint = checkpoint
        self._sum = None if checksum is None else _Sum(checksum)

    @property
    def head(self) -> bytes:
        return self._head

    async def run(self, blocks: AsyncIterator[bytes]) -> int:
        """The offset up to which all is kept. Raises what `blocks` and `record` raise, StoreError, NotAVideo,
        UploadTooLarge, WrongChecksum; what came before a connection broke is kept."""
        try:
            await self._take(blocks)
        except (BrokenBody, TooSlow):
            if self._sum is None:
                await self.keep()
            raise
        finally:
            if self._sum is not None:
                await self._sum.close()
        return await self.keep()

    async def keep(self) -> int:
        offset = await self._appender.keep()
        await self._record(offset, self._head, True)
        return offset

    async def _take(self, blocks: AsyncIterator[bytes]) -> None:
        clock = asyncio.get_running_loop().time
        recorded = clock()
        async for block in blocks:
            self._at += len(block)
            self._see(block)
            if self._sum is not None:
                await self._sum.put(block)
            await self._appender.write(block)
            # the end is recorded once, when all of it has been judged: from then on the upload is nobody's to write to
            ends = self._at == self._end
            if self._sum is None and not ends and clock() - recorded > self._checkpoint:
                offset = await self._appender.checkpoint()
                # of what is kept, not of what is on its way
                await self._record(offset, self._head[:offset], False)
                recorded = clock()
        if self._judges and not self._judged and self._at == self._end:
            look(self._head)
        if self._sum is not None:
            await self._sum.check()

    def _see(self, block: bytes) -> None:
        if self._at > self._most:
            raise UploadTooLarge(f"The upload may have {self._most} bytes.", limit=self._most)
        if len(self._head) < HEAD:
            self._head += block[: HEAD - len(self._head)]
            if self._judges and not self._judged and len(self._head) == HEAD:
                self._judged = True
                look(self._head)
