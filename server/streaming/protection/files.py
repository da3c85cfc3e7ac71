"""Files of a video as they are handed out: those of a protected one encrypted, made of the plain ones in a thread.

What was encrypted lately is kept in bounded memory. A file of another key than that of now, or a plain segment of a
video that is protected, is refused with 410: who asks for it has an old playlist. Dies with its owner.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import OrderedDict
from dataclasses import replace
from typing import Protocol
from uuid import UUID

from media.package import protect
from media.package.protect import Key
from media.protocols.errors import MediaError
from media.vod.packaging import MANIFEST, MULTIVARIANT
from server.kit.secrets import BrokenSeal
from server.streaming.playback.files import File, made
from server.streaming.playback.rights import Refusal
from server.streaming.playback.subjects import Subject
from server.streaming.protection.keys import Keys
from server.streaming.protection.models import Protection, Scheme

log = logging.getLogger(__name__)

STALE = Refusal(410, "It is encrypted in another way now: load the playlist again.")
HLS_ALONE = Refusal(404, "This video is encrypted for HLS alone (AES-128): play index.m3u8.")
CANNOT = Refusal(409, "This video has a codec that cannot be encrypted with Clear Key. Its owner may choose aes-128.")
OTHERWISE = Refusal(404, "This video is not encrypted in this way: load the playlist again.")
SEALED = Refusal(409, "The key of this video cannot be read any more. Its owner may have it encrypted with a new one.")
_PLAYLIST = re.compile(r"[va](?:-[a-z0-9]{1,16})?\.m3u8", re.ASCII)

Entry = tuple[UUID, str]
"""Key id and plain name."""


class Plain(Protocol):
    async def read(self, folder: str, name: str) -> File | None: ...


class ProtectedFiles:
    """most: bytes of encrypted files kept in memory."""

    def __init__(self, files: Plain, keys: Keys, most: int) -> None:
        self._files = files
        self._keys = keys
        self._most = most
        self._kept: OrderedDict[Entry, tuple[str, File]] = OrderedDict()  # the plain one's ETag, what was made of it
        self._bytes = 0
        self._making: dict[tuple[Entry, str], asyncio.Task[File | Refusal]] = {}
        self.encrypted = 0

    async def close(self) -> None:
        tasks = list(self._making.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def describe(self) -> dict[str, object]:
        return {"files": len(self._kept), "bytes": self._bytes, "encrypted": self.encrypted}

    async def read(self, subject: Subject, tag: str, name: str) -> File | Refusal | None:
        """tag: before the plain name, "" where there is none. None: there is no such file. Raises StoreError."""
        folder, protection = f"videos/{subject.id}", subject.protection
        if protection is None:
            return await self._files.read(folder, name) if not tag else STALE
        if tag and (tag != protection.tag or not _tagged(name, protection.scheme)):
            return STALE
        if not tag and name.endswith(".m4s"):
            return STALE
        if name == MANIFEST and protection.scheme is Scheme.AES_128:
            return HLS_ALONE
        plain = await self._files.read(folder, name)
        if plain is None or not (tag or name in (MANIFEST, MULTIVARIANT) or _PLAYLIST.fullmatch(name)):
            return plain
        entry = (protection.key_id, name)
        kept = self._kept.get(entry)
        if kept is not None and kept[0] == plain.etag:
            self._kept.move_to_end(entry)
            return kept[1]
        place = entry, plain.etag
        task = self._making.get(place)
        if task is None:
            task = self._making[place] = asyncio.get_running_loop().create_task(
                self._encrypt(subject.id, protection, name, plain)
            )
            task.add_done_callback(lambda done: self._done(entry, plain.etag, done))
        # one reader that leaves does not take the others' work away
        return await asyncio.shield(task)

    def key(self, subject: Subject, scheme: Scheme) -> Key | Refusal:
        """The key of what is protected in this way."""
        protection = subject.protection
        if protection is None or protection.scheme is not scheme:
            return OTHERWISE
        return self._open(subject.id, protection)

    def _open(self, id: UUID, protection: Protection) -> Key | Refusal:
        try:
            return self._keys.open(id, protection)
        except BrokenSeal:
            log.warning("the key of video %s cannot be opened: was SECRET_KEY changed?", id)
            return SEALED

    async def _encrypt(self, id: UUID, protection: Protection, name: str, plain: File) -> File | Refusal:
        init = b""
        if protection.scheme is Scheme.CLEARKEY and name.endswith(".m4s"):
            found = await self._init_of(f"videos/{id}", name)
            if found is None:
                return Refusal(404, "There is no such segment in the playlist.")
            init = found.body
        key = self._open(id, protection)
        if isinstance(key, Refusal):
            return key
        try:
            return await asyncio.to_thread(_encrypted, protection, key, name, plain, init)
        except MediaError as error:
            log.warning("%s of video %s cannot be encrypted: %s", name, id, error)
            return CANNOT

    async def _init_of(self, folder: str, segment: str) -> File | None:
        playlist = await self._files.read(folder, f"{segment.rpartition('-')[0]}.m3u8")
        name = protect.init_before(playlist.body.decode(), segment) if playlist is not None else None
        return await self._files.read(folder, name) if name is not None else None

    def _done(self, entry: Entry, etag: str, task: asyncio.Task[File | Refusal]) -> None:
        del self._making[entry, etag]
        if task.cancelled() or task.exception() is not None:
            return
        file = task.result()
        if isinstance(file, Refusal):
            return
        self.encrypted += 1
        old = self._kept.pop(entry, None)
        if old is not None:
            self._bytes -= old[1].size
        if file.size <= self._most // 4:  # one never takes the place of most others
            self._kept[entry] = etag, file
            self._bytes += file.size
            while self._bytes > self._most:
                self._bytes -= self._kept.popitem(last=False)[1][1].size


def _tagged(name: str, scheme: Scheme) -> bool:
    """What has a name for each key: what is encrypted itself."""
    return name.endswith(".m4s") or (name.endswith(".mp4") and scheme is Scheme.CLEARKEY)


def _encrypted(protection: Protection, key: Key, name: str, plain: File, init: bytes) -> File:
    """In a thread. Raises MediaError."""
    whole = protection.scheme is Scheme.AES_128
    if name.endswith(".m4s"):
        if whole:
            body = protect.aes_128(plain.body, key.secret, protect.number_of(name))
        else:
            body = protect.protected_segment(plain.body, protect.form_of(init), key)
    elif name.endswith(".mp4"):
        body = protect.protected_init(plain.body, key.id)
    else:
        body = _text(protection, name, plain.body.decode(), whole=whole).encode()
    file = made(plain.kind, body)
    return replace(file, read_at=plain.read_at)


def _text(protection: Protection, name: str, text: str, *, whole: bool) -> str:
    if name == MULTIVARIANT:
        if not whole and protect.unprotectable(text):
            raise MediaError(f"{', '.join(protect.unprotectable(text))} is not encrypted")
        return protect.protected_multivariant(text, protection.key_id, whole=whole)
    if name == MANIFEST:
        return protect.clearkey_manifest(text, protection.key_id)
    if whole:
        return protect.aes_128_playlist(text, protection.tag)
    return protect.clearkey_playlist(text, protection.key_id)
