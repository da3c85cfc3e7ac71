"""The desk of a LivePackage: from the name of a file and its query to an Answer.

Answers are kept under their name until they are no longer true, so that the common request is one dictionary look-up.
Parts and segments of the live edge come from memory, older ones from the shelf.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Mapping
from typing import TYPE_CHECKING

from media.package import dash, hls
from media.package.answer import (
    AUDIO,
    DASH,
    ENDED,
    HLS,
    IMMUTABLE,
    NOT_FOUND,
    TEXT,
    TOO_LATE,
    VIDEO,
    Answer,
    refusal,
)
from media.package.hls import Rendition
from media.package.recording import MANIFEST, NAME
from media.package.waiting import ANYTHING
from media.package.window import Piece

if TYPE_CHECKING:
    from media.package.live import LivePackage

_LETTER = r"([va](?:-[a-z0-9]{1,12})?)"
_LIST = re.compile(_LETTER + r"\.m3u8")
_MEDIA = re.compile(_LETTER + r"-(0|[1-9]\d{0,9})(?:\.(0|[1-9]\d{0,5}))?\.m4s")
_INIT = re.compile(_LETTER + r"-init-\d{1,9}\.mp4")
_NUMBER = re.compile(r"\d{1,12}")

COLD_SECONDS = 5.0
"""How long the first request for a rendition on demand is kept waiting for its media."""

INITS_KEPT = 4
"""Init segments of each track kept in memory."""


class Desk:
    def __init__(self, package: LivePackage) -> None:
        self.ready: dict[str, Answer] = {}
        self._package = package
        self._lists: dict[str, dict[str, Answer]] = {}
        self._inits: dict[str, list[str]] = {}
        self._reading: dict[str, asyncio.Task[bytes | None]] = {}
        self._manifest: tuple[float, Answer] | None = None

    # what is no longer true

    def stale_list(self, letter: str) -> None:
        self.ready.pop(letter + ".m3u8", None)
        lists = self._lists.get(letter)
        if lists:
            lists.clear()

    def stale_index(self) -> None:
        self.ready.pop("index.m3u8", None)
        self._manifest = None

    def stale(self) -> None:
        self.stale_index()
        for letter in {*self._lists, *(r.letter for r in self._package.all_renditions())}:
            self.stale_list(letter)

    def forget(self, piece: Piece) -> None:
        """Its bytes leave the memory."""
        self.ready.pop(piece.name, None)
        for number in range(len(piece.parts)):
            self.ready.pop(f"{piece.letter}-{piece.msn}.{number}.m4s", None)

    def keep(self, name: str, letter: str, data: bytes) -> None:
        """An init segment in use."""
        self.ready[name] = Answer(200, data, _kind(letter), IMMUTABLE)
        names = self._inits.setdefault(letter, [])
        if name in names:
            names.remove(name)
        names.append(name)
        if len(names) > INITS_KEPT:
            self.ready.pop(names.pop(0), None)

    # what is asked for

    def find(self, name: str, query: Mapping[str, str]) -> Answer | Awaitable[Answer]:
        ready = self.ready.get(name)
        if ready is not None and not name.endswith(".m3u8"):
            return ready  # a query means nothing to a file
        if name == "index.m3u8":
            return self._index()
        if match := _LIST.fullmatch(name):
            return self._playlist_of(match[1], query)
        if name == "index.mpd":
            return self._mpd()
        if name == "time":
            return Answer(200, hls.moment(self._package.clock()).encode(), TEXT, 0)
        if match := _MEDIA.fullmatch(name):
            letter, msn, part = match.groups()
            return self._media(name, letter, int(msn), None if part is None else int(part))
        if _INIT.fullmatch(name):
            return self._from_shelf(name, _kind(name))
        if NAME.fullmatch(name):
            return self._from_shelf(name, DASH if name == MANIFEST else HLS, max_age=60)
        return NOT_FOUND

    # playlists

    def _playlist_of(self, letter: str, query: Mapping[str, str]) -> Answer | Awaitable[Answer]:
        package = self._package
        if "-" in letter and not package.ended and not package.closed:
            if not package.followers.asked(letter):
                return NOT_FOUND
            rendition = package.followers.renditions[letter]
            if not query and package.followers.cold(letter):
                return self._wait_for_first(rendition)
        found = package.rendition(letter)
        return NOT_FOUND if found is None else self._playlist(found, query)

    def _playlist(self, rendition: Rendition, query: Mapping[str, str]) -> Answer | Awaitable[Answer]:
        msn_text, part_text = query.get("_HLS_msn"), query.get("_HLS_part")
        delta = query.get("_HLS_skip") in ("YES", "v2")
        if rendition.ended:
            return self._list(rendition, "") if rendition.pieces else NOT_FOUND
        if msn_text is None:
            if part_text is not None:
                return refusal(400, "_HLS_part needs _HLS_msn beside it.\n")
            if rendition.pieces or rendition.edge.parts:
                return self._list(rendition, "delta" if delta else "")
            return self._wait_for_list(rendition, rendition.next, 0, delta)
        if not _NUMBER.fullmatch(msn_text) or (part_text is not None and not _NUMBER.fullmatch(part_text)):
            return refusal(400, "_HLS_msn and _HLS_part are decimal numbers.\n")
        msn = int(msn_text)
        part = -1 if part_text is None else int(part_text)
        edge = rendition.edge
        if msn < edge.msn:
            closed = self._piece(rendition.letter, msn)
            if part < 0 or closed is None or part < len(closed.parts) or msn < edge.msn - 1 or edge.parts:
                return self._list(rendition, "blocked delta" if delta else "blocked")
            msn, part = edge.msn, 0  # a part after the last of its segment is the first of the next (6.2.5.2)
        if msn > edge.msn + 1:
            return refusal(400, f"_HLS_msn is more than two segments ahead; the last one is {edge.msn - 1}.\n")
        ahead = part + 1 - (edge.parts if msn == edge.msn else 0)
        if ahead > self._advance_limit(rendition):
            return refusal(400, "_HLS_part is too far ahead.\n")
        if msn == edge.msn and 0 <= part < edge.parts:
            return self._list(rendition, "blocked delta" if delta else "blocked")
        return self._wait_for_list(rendition, msn, part, delta)

    async def _wait_for_first(self, rendition: Rendition) -> Answer:
        """Its first part since it was asked for; after COLD_SECONDS what there is, if only gaps."""
        package = self._package
        deadline = time.monotonic() + COLD_SECONDS
        while package.followers.cold(rendition.letter) or not rendition.edge.parts:
            if rendition.ended or package.closed or time.monotonic() > deadline:
                break
            if not await package.waiting.until((rendition.letter, rendition.next, 0)):
                break
        return self._list(rendition, "") if rendition.pieces or rendition.edge.parts else TOO_LATE

    @staticmethod
    def _advance_limit(rendition: Rendition) -> float:
        target = rendition.part_target or 0.2
        return 3 / target if target < 1 else 3

    async def _wait_for_list(self, rendition: Rendition, msn: int, part: int, delta: bool) -> Answer:
        if self._package.closed:
            return TOO_LATE
        while not rendition.ended:
            edge = rendition.edge
            if msn < edge.msn or (msn == edge.msn and 0 <= part < edge.parts):
                break
            if not await self._package.waiting.until((rendition.letter, msn, part)):
                return TOO_LATE
            closed = self._piece(rendition.letter, msn)
            if part >= 0 and closed is not None and closed.closed and part >= len(closed.parts) > 0:
                msn, part = msn + 1, 0
        if not rendition.pieces and not rendition.edge.parts:
            return NOT_FOUND
        if rendition.ended:
            return self._list(rendition, "")
        return self._list(rendition, "blocked delta" if delta else "blocked")

    def _list(self, rendition: Rendition, kind: str) -> Answer:
        """kind: "" as it is now, "blocked" when it was asked for by number, "delta" with old segments skipped."""
        letter = rendition.letter
        lists = self._lists.setdefault(letter, {})
        found = lists.get(kind)
        if found is not None:
            return found
        package = self._package
        plain = "delta" if "delta" in kind else ""
        sibling = lists.get(plain) or lists.get(("blocked " + plain).strip())
        if sibling is not None:
            body, packed = sibling.body, sibling.gzip
        else:
            hint = package.hint(letter)
            reports = "".join([hls.report(r) for r in package.all_renditions() if r.letter != letter])
            render = rendition.render_delta if plain else rendition.render
            body, packed = render(hint=hint, reports=reports)
        # what was asked for by number stays a true answer to that question (6.2.5.2): it may be kept a little
        max_age = package.options.target_duration if kind.startswith("blocked") else 1
        answer = lists[kind] = Answer(200, body, HLS, max_age, packed)
        if not kind:
            self.ready[rendition.name] = answer
        return answer

    def _index(self) -> Answer | Awaitable[Answer]:
        package = self._package
        if self._listable():
            answer = Answer(200, self._multivariant(), HLS, 1)
            if package.rates.peak:
                self.ready["index.m3u8"] = answer
            return answer
        if package.ended or package.closed or not package.current:
            return NOT_FOUND
        return self._wait_for_index()

    def _listable(self) -> bool:
        package = self._package
        return bool(package.current) and all(
            package.renditions[x].pieces or package.renditions[x].edge.parts for x in package.current
        )

    async def _wait_for_index(self) -> Answer:
        package = self._package
        while not self._listable():
            if package.ended or not await package.waiting.until(ANYTHING):
                return NOT_FOUND if package.ended else TOO_LATE
        return Answer(200, self._multivariant(), HLS, 1)

    def _multivariant(self) -> bytes:
        package = self._package
        average, peak = package.rates.average, package.rates.peak
        if not peak:
            # before the first segment is closed its parts tell
            parts = [p for r in package.renditions.values() if r.open for p in r.open.parts]
            for rendition in package.renditions.values():
                if rendition.open and rendition.open.parts:
                    seconds = sum(p.seconds for p in rendition.open.parts)
                    average += hls.bandwidth(sum(p.size for p in rendition.open.parts), seconds)
            peak = max(average, max((hls.bandwidth(p.size, p.seconds) for p in parts), default=1))
        # until a track has been measured it counts as all tracks together
        rates = {x: package.rates_of(x) for x in package.current}
        listed = [
            hls.Listed(init, f"{x}.m3u8", rates[x].peak or max(peak, 1), rates[x].average or max(average, 1))
            for x, init in package.current.items()
        ]
        followers = package.followers
        listed += [hls.Listed(followers.init_of(x), f"{x}.m3u8", *followers.rate_of(x)) for x in followers.listed()]
        return hls.multivariant(listed, max(peak, average, 1), max(average, 1)).encode()

    def _mpd(self) -> Answer:
        package = self._package
        now = package.clock()
        if self._manifest is not None and now - self._manifest[0] < 1.0 and now >= self._manifest[0]:
            return self._manifest[1]
        if not package.timeline.runs:
            return NOT_FOUND
        options = package.options
        body, packed = dash.live_manifest(
            package.timeline,
            origin=hls.moment(package.origin),
            now=hls.moment(now),
            dvr=options.dvr_seconds,
            target=options.target_duration,
            segment=options.segment_seconds,
            bandwidths=package.track_rates(),
            ended=package.ended,
        )
        answer = Answer(200, body, DASH, 1, packed)
        self._manifest = (now, answer)
        return answer

    # media

    def _piece(self, letter: str, msn: int) -> Piece | None:
        if "-" in letter:
            return self._package.followers.piece(letter, msn)
        segment = self._package.segments.get(msn)
        return segment.pieces.get(letter) if segment else None

    def _media(self, name: str, letter: str, msn: int, part: int | None) -> Answer | Awaitable[Answer]:
        package = self._package
        rendition = package.rendition(letter)
        kind = _kind(letter)
        if rendition is None:
            # of one that left the window, what was recorded can still be had
            return self._from_shelf(name, kind) if "-" in letter and part is None else NOT_FOUND
        piece = self._piece(letter, msn)
        if part is None:
            if msn >= rendition.next:
                return NOT_FOUND
            if piece is not None and piece.gap:
                return NOT_FOUND
            if piece is None or not piece.parts or not piece.parts[0].chunks:
                return self._from_shelf(name, kind)
            answer = Answer(200, tuple(self._part_bytes(piece, n) for n in range(len(piece.parts))), kind, IMMUTABLE)
            self.ready[name] = answer
            return answer
        if piece is not None and part < len(piece.parts):
            if not piece.parts[part].chunks:
                return self._part_from_shelf(piece, part, kind)
            answer = Answer(200, self._part_bytes(piece, part), kind, IMMUTABLE)
            self.ready[name] = answer
            return answer
        edge = rendition.edge
        hinted = (msn == edge.msn and part == edge.parts) or (msn == edge.msn + 1 and part == 0)
        if not hinted or not package.runs(letter):
            return NOT_FOUND
        if package.ended:
            return ENDED
        return self._wait_for_part(name, letter, msn, part, kind)

    @staticmethod
    def _part_bytes(piece: Piece, number: int) -> bytes:
        part = piece.parts[number]
        if len(part.chunks) > 1:
            part.chunks = (b"".join(part.chunks),)
        return part.chunks[0]

    async def _wait_for_part(self, name: str, letter: str, msn: int, part: int, kind: str) -> Answer:
        package = self._package
        if package.closed:
            return TOO_LATE
        rendition = package.rendition(letter)
        while rendition is not None:
            piece = self._piece(letter, msn)
            if piece is not None and part < len(piece.parts):
                found = self._media(name, letter, msn, part)
                return found if isinstance(found, Answer) else await found
            if rendition.ended:
                return ENDED
            if msn < rendition.next:
                return NOT_FOUND  # its segment ended before it
            if not await package.waiting.until((letter, msn, part)):
                return TOO_LATE
        return NOT_FOUND

    async def _part_from_shelf(self, piece: Piece, number: int, kind: str) -> Answer:
        data = await self._read(piece.name)
        part = piece.parts[number]
        if data is None or len(data) < part.offset + part.size:
            return NOT_FOUND
        return Answer(200, data[part.offset : part.offset + part.size], kind, IMMUTABLE)

    async def _from_shelf(self, name: str, kind: str, max_age: int = IMMUTABLE) -> Answer:
        data = await self._read(name)
        return NOT_FOUND if data is None else Answer(200, data, kind, max_age)

    async def _read(self, name: str) -> bytes | None:
        """One read for all who ask for the same file at once."""
        task = self._reading.get(name)
        if task is None:
            task = self._reading[name] = asyncio.create_task(self._package.shelf.read(name))
            task.add_done_callback(lambda _: self._reading.pop(name, None))
        return await asyncio.shield(task)


def _kind(letter: str) -> str:
    return VIDEO if letter[0] == "v" else AUDIO
