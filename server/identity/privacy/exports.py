"""Archives of what is kept of a person: asked for, made by a job, told of by mail, fetched, deleted when their time is
over. Owns nothing between calls.

An attempt stores its pieces under a random name of its own. A worker that dies leaves its attempt to another worker,
which begins anew under another name; should the first one still live, it finds at the end that its name is not the
newest any more. What an attempt has left is deleted by a job that commits with the next one.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from uuid import UUID

from server.identity import store as accounts
from server.identity.privacy import store
from server.identity.privacy.archive import Archive
from server.identity.privacy.errors import ExportUnderWay, NoExport
from server.identity.privacy.models import Export, ExportView
from server.identity.profile.avatars import FILES_JOB, new_name
from server.kit.audit import Audit
from server.kit.auth import Origin
from server.kit.clock import now
from server.kit.ids import uuid7
from server.kit.mail import Mailer
from server.kit.personal import Item, PersonalData
from server.kit.problems import TooManyRequests
from server.settings import Settings
from storage.jobs import Jobs
from storage.objects import ObjectStore, StoreError
from storage.postgres import Connection, Database

_log = logging.getLogger(__name__)

EXPORT_JOB = "identity.export"
EXPORT_SECONDS = 6 * 3600.0
PREFIX = "exports"
PIECE_BYTES = 4 * 1024 * 1024

_MOST_ATTEMPTS = 6
_KEPT = timedelta(days=30)
_DAY = timedelta(days=1)
_MOST_A_DAY = 10


class Superseded(Exception):
    """Another attempt has begun meanwhile."""


class Exports:
    def __init__(
        self,
        database: Database,
        objects: ObjectStore,
        jobs: Jobs,
        settings: Settings,
        parts: Sequence[PersonalData],
        *,
        mailer: Mailer,
        audit: Audit,
    ) -> None:
        self._database = database
        self._objects = objects
        self._jobs = jobs
        self._base_url = settings.base_url
        self._hours = settings.export_hours
        self._parts = parts
        self._mailer = mailer
        self._audit = audit

    # its owner

    async def ask(self, user_id: UUID, *, media: bool, origin: Origin | None = None) -> ExportView:
        """Have an archive made; one that is ready is replaced. Raises ExportUnderWay, TooManyRequests."""
        id = uuid7()
        async with self._database.transaction() as connection:
            if await store.asked_since(connection, user_id, now() - _DAY) >= _MOST_A_DAY:
                raise TooManyRequests(
                    f"An archive takes much work: {_MOST_A_DAY} in a day are made, and yours were.", retry_after=3600.0
                )
            if not await store.add_export(connection, id, user_id, media, now()):
                raise ExportUnderWay("Your archive is being made already; you will get a mail when it is ready.")
            await self._delete(connection, await store.expire(connection, now(), user_id))
            await self._jobs.enqueue(connection, EXPORT_JOB, id.bytes)
            await self._audit.record(connection, user_id, "export.asked", origin, media=media)
        return await self.show(user_id)

    async def show(self, user_id: UUID) -> ExportView:
        async with self._database.acquire() as connection:
            found = await store.latest_export(connection, user_id)
        return ExportView() if found is None else found.view()

    async def of_user(self, user_id: UUID, origin: Origin | None = None) -> Export:
        """The archive to send. Raises NoExport."""
        async with self._database.transaction() as connection:
            return await self._fetched(connection, await store.latest_export(connection, user_id), origin)

    async def of_token(self, token: str, origin: Origin | None = None) -> Export:
        """The same, for whoever has the link from the mail. Raises NoExport."""
        async with self._database.transaction() as connection:
            found = await store.export_of_token(connection, _digest(token), now())
            return await self._fetched(connection, found, origin)

    async def _fetched(self, connection: Connection, found: Export | None, origin: Origin | None) -> Export:
        if found is None or found.state != "ready" or found.expires_at is None or found.expires_at <= now():
            raise NoExport("No archive is ready; ask for one, and wait until it is made.")
        await self._audit.record(connection, found.user_id, "export.fetched", origin)
        return found

    async def read(self, export: Export, start: int, end: int) -> AsyncIterator[bytes]:
        """The archive's bytes from `start` up to but not including `end`. Raises StoreError."""
        while start < end:
            number, offset = divmod(start, export.piece_bytes)
            until = min(end, (number + 1) * export.piece_bytes)
            data = await self._objects.get(_key(export.prefix or "", number), offset, offset + until - start)
            if data is None or len(data) != until - start:
                raise StoreError(f"a piece of the archive {export.id} is not there")
            yield data
            start = until

    # jobs

    async def make(self, payload: bytes) -> None:
        """The job EXPORT_JOB."""
        id, prefix = UUID(bytes=payload), f"{PREFIX}/{new_name()}"
        async with self._database.transaction() as connection:
            begun = await store.begin_attempt(connection, id, prefix, len(self._parts))
            if begun is None:
                return
            export, before = begun
            if before is not None:
                await self._delete(connection, [before])
        try:
            await self._write(export, prefix)
        except Superseded:
            _log.info("the archive %s is being made by another worker", id)
            async with self._database.transaction() as connection:
                await self._delete(connection, [prefix])
        except Exception:
            if export.attempts < _MOST_ATTEMPTS:
                raise
            _log.exception("the archive %s could not be made, and will not be tried again", id)
            async with self._database.transaction() as connection:
                left = await store.fail(connection, id)
                await self._delete(connection, [left] if left else [])

    async def sweep(self) -> None:
        """Delete archives that are past their time."""
        async with self._database.transaction() as connection:
            await self._delete(connection, await store.expire(connection, now()))
            await store.forget_exports(connection, now() - _KEPT)

    async def _write(self, export: Export, prefix: str) -> None:
        done = 0

        async def keep(number: int, piece: bytes) -> None:
            await self._objects.put(_key(prefix, number), piece, "application/octet-stream")
            async with self._database.acquire() as connection:
                if not await store.progress(connection, export.id, prefix, done, archive.bytes + len(piece)):
                    raise Superseded

        archive = Archive(keep, PIECE_BYTES, now())
        try:
            await archive.add(Item("README.txt", _readme(export)))
            for part in self._parts:
                async for item in part.export(export.user_id, media=export.media):
                    await archive.add(item)
                done += 1
            await archive.close()
        except BaseException:
            archive.abandon()
            raise
        await self._finish(export, prefix, archive)

    async def _finish(self, export: Export, prefix: str, archive: Archive) -> None:
        token = secrets.token_urlsafe(32)
        at = now()
        async with self._database.transaction() as connection:
            finished = await store.finish(
                connection,
                export.id,
                prefix,
                pieces=archive.pieces,
                piece_bytes=PIECE_BYTES,
                size=archive.bytes,
                at=at,
                expires_at=at + timedelta(hours=self._hours),
                token_hash=_digest(token),
            )
            if not finished:
                raise Superseded
            account = await accounts.by_id(connection, export.user_id)
            # an address that nobody has verified may be a stranger's: he would get the whole archive
            if account is not None and account.email_verified_at is not None and account.disabled_at is None:
                await self._mailer.send(
                    connection,
                    account.email,
                    "export_ready",
                    {
                        "username": account.username,
                        "url": f"{self._base_url}/account/export#token={token}",
                        "hours": self._hours,
                    },
                )

    async def _delete(self, connection: Connection, prefixes: Sequence[str]) -> None:
        for prefix in prefixes:
            await self._jobs.enqueue(connection, FILES_JOB, prefix.encode())


async def _readme(export: Export) -> AsyncIterator[bytes]:
    yield (
        "What this server keeps of your account, as of "
        f"{now():%d %B %Y, %H:%M} UTC.\n\nJSON files hold your entries, a line each in lists. "
        + ("Recordings are in the folder media: open recording.m3u8 of each.\n" if export.media else "")
        + "Passwords, keys and codes are not in it: they are stored in forms that cannot be read back.\n"
    ).encode()


def _key(prefix: str, number: int) -> str:
    return f"{prefix}/{number:06d}.bin"


def _digest(token: str) -> bytes:
    """What is stored of a token. 256 random bits need no salt and no slow hash."""
    return hashlib.sha256(token.encode(errors="replace")).digest()
