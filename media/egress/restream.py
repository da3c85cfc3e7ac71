"""Pushing a broadcast on to another RTMP server.

A Pusher is one target of one broadcast, from `start` until the broadcast ends, the target refuses for good, or `close`.
It reads the broadcast behind a bounded queue of its own: a target that is slow, away or hostile costs that queue and
one connection, and nobody else notices. It connects while a publisher is there, comes back with growing pauses, and
keeps its connection over a publisher's short absence. How a connection is made is its owner's: see Dial.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from media.broadcast import Broadcast
from media.egress.clock import ProgrammeClock
from media.egress.restream_feed import Feed, Sounds
from media.protocols import flv
from media.protocols.errors import ProtocolError
from media.protocols.rtmp.client import Publishing, RtmpClient, Target, Turned
from media.queue_reader import QueueReader
from media.samples import Codec, Kind, Sample, Track

log = logging.getLogger(__name__)

READ = 64 * 1024
WRITE_BUFFER = 256 * 1024
"""Bytes beyond the queue that wait in the connection before the queue is left alone."""
FIRST_PAUSE = 1.0
STEADY = 30.0
"""A push that lasted so long, s, was none that failed at once: the next pause is the first again."""
REFUSALS = 5
"""A target that took this key before has to refuse it so often in a row to be believed."""
CHATTER = 1 << 20
"""Bytes that a target may say, and then an eighth of what it is sent."""
PARTING = 2.0
RATE_SECONDS = 8.0

_NAMES = {
    Codec.H264: "H.264", Codec.HEVC: "HEVC", Codec.AV1: "AV1", Codec.VP9: "VP9", Codec.AAC: "AAC", Codec.OPUS: "Opus",
}  # fmt: skip


class PushState(StrEnum):
    WAITING = "waiting"
    CONNECTING = "connecting"
    PUSHING = "pushing"
    RETRYING = "retrying"
    REFUSED = "refused"
    STOPPED = "stopped"


class Failed(Exception):
    """Why nothing reaches the target, in words for its owner. for_good: trying again would not help."""

    def __init__(self, reason: str, *, for_good: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.for_good = for_good


Dial = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]
"""Opens a connection to where its maker wants it. Raises Failed, OSError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestreamOptions:
    """queue: bytes that wait for a slow target. timeout: s for connecting, for the target's yes, and for each time that
    it takes nothing. most_pause: s between two attempts at most."""

    queue: int = 4 << 20
    timeout: float = 10.0
    most_pause: float = 60.0


class Pusher:
    """state, since (time.time()), error and note in words: what is true now. sent_bytes, dropped, reconnects: since
    `start`. on_change is called on the loop when the state, the error or the note has changed; must not block."""

    def __init__(
        self,
        broadcast: Broadcast,
        target: Target,
        dial: Dial,
        options: RestreamOptions,
        *,
        sounds: Sounds | None = None,
        on_change: Callable[[Pusher], None] | None = None,
    ) -> None:
        self.broadcast = broadcast
        self.state = PushState.WAITING
        self.since = time.time()
        self.error = ""
        self.note = ""
        self.sent_bytes = 0
        self.reconnects = 0
        self.next_try_at = 0.0
        self._dropped = 0
        self._target = target
        self._dial = dial
        self._options = options
        self._sounds = sounds
        self._on_change = on_change
        self._presence = _Presence(self)
        self._queue: QueueReader | None = None
        self._task: asyncio.Task[None] | None = None
        self._failures = 0
        self._refusals = 0
        self._taken = 0
        self._sent: deque[tuple[float, int]] = deque()

    def start(self) -> None:
        self.broadcast.add(self._presence)
        self._task = asyncio.get_running_loop().create_task(self.run())

    async def close(self) -> None:
        """Tell the target that it is over, as far as it listens, and hang up."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def run(self) -> None:
        try:
            while await self._present():
                try:
                    await self._session()
                except Failed as failed:
                    if self._over(failed):
                        return
                    await self._pause(failed.reason)
            self._enter(PushState.STOPPED)
        except asyncio.CancelledError:
            self._enter(PushState.STOPPED)
            raise
        except Exception:
            log.exception("broadcast %s: a push to a target failed", self.broadcast.id)
            self._enter(PushState.REFUSED, "this server failed at it; stop and start the target to try again")
        finally:
            self.broadcast.remove(self._presence)

    @property
    def finished(self) -> bool:
        return self._task is not None and self._task.done()

    @property
    def dropped(self) -> int:
        """Frames that were left out because the target took too little."""
        return self._dropped + (self._queue.dropped if self._queue is not None else 0)

    @property
    def bitrate(self) -> float:
        """Bit/s over the last seconds."""
        now = time.monotonic()
        sent = self._sent
        while sent and now - sent[0][0] > RATE_SECONDS:
            sent.popleft()
        if self.state is not PushState.PUSHING or len(sent) < 2:
            return 0.0
        return 8 * sum(size for _, size in sent) / max(1.0, now - sent[0][0])

    def describe(self) -> dict[str, object]:
        return {
            "state": self.state.value,
            "since": self.since,
            "bitrate": self.bitrate,
            "sent_bytes": self.sent_bytes,
            "dropped": self.dropped,
            "reconnects": self.reconnects,
            "error": self.error,
            "note": self.note,
        }

    # between two connections

    async def _present(self) -> bool:
        if not self._presence.running:
            self._enter(PushState.WAITING)
        return await self._presence.there()

    def _over(self, failed: Failed) -> bool:
        self._refusals = self._refusals + 1 if failed.for_good else 0
        if failed.for_good and (not self._taken or self._refusals >= REFUSALS):
            self._enter(PushState.REFUSED, failed.reason)
            return True
        return False

    async def _pause(self, reason: str) -> None:
        self._failures += 1
        longest = min(self._options.most_pause, FIRST_PAUSE * 2.0 ** min(self._failures - 1, 20))
        pause = longest * random.uniform(0.5, 1.0)
        self.next_try_at = time.time() + pause
        self._enter(PushState.RETRYING, reason)
        await self._presence.ended_within(pause)
        self.next_try_at = 0.0

    def _enter(self, state: PushState, error: str | None = None) -> None:
        changed = state is not self.state
        if changed:
            self.state, self.since = state, time.time()
        if error is not None and error != self.error:
            self.error, changed = error, True
        if changed and self._on_change is not None:
            self._on_change(self)

    def _remark(self, note: str) -> None:
        if note != self.note:
            self.note = note
            if self._on_change is not None:
                self._on_change(self)

    def on_away(self) -> None:
        """The publisher has left; it may come back."""
        if self.state is PushState.PUSHING:
            self._enter(PushState.WAITING)

    # one connection

    async def _session(self) -> None:
        """Returns when the broadcast has ended or nobody publishes any more. Raises Failed."""
        self._enter(PushState.CONNECTING)
        seconds = self._options.timeout
        writer: asyncio.StreamWriter | None = None
        try:
            try:
                async with asyncio.timeout(seconds):
                    reader, writer = await self._dial()
            except TimeoutError:
                raise Failed(f"the target could not be reached within {seconds:g} s") from None
            writer.transport.set_write_buffer_limits(high=WRITE_BUFFER)
            client = RtmpClient(self._target)
            try:
                async with asyncio.timeout(seconds):
                    codecs = await self._introduce(client, reader, writer)
            except TimeoutError:
                raise Failed(f"the target did not let us publish within {seconds:g} s") from None
            await self._serve(client, reader, writer, codecs)
        except ProtocolError as error:
            raise Failed(_of_target(error.reason)) from None
        except OSError as error:
            raise Failed(_lost(error)) from None
        finally:
            if writer is not None:
                writer.transport.abort()

    async def _introduce(
        self, client: RtmpClient, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> frozenset[Codec]:
        writer.write(client.take_output())
        while True:
            for event in await self._hear(client, reader, writer):
                if isinstance(event, Publishing):
                    return event.codecs
                raise Failed(event.reason, for_good=event.for_good)

    async def _hear(
        self, client: RtmpClient, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> list[Publishing | Turned]:
        """What the target says next, answered."""
        if client.backlog:
            await asyncio.sleep(0)
            data = b""
        elif not (data := await reader.read(READ)):
            raise Failed("the target hung up")
        events = client.receive(data)
        if client.received > CHATTER + self.sent_bytes // 8:
            raise Failed("the target says more than a server of RTMP has reason to")
        if answer := client.take_output():
            self._write(writer, answer)
            await self._drained(writer)
        return events

    async def _serve(
        self,
        client: RtmpClient,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        codecs: frozenset[Codec],
    ) -> None:
        loop = asyncio.get_running_loop()
        queue = self._queue = QueueReader(self._options.queue)
        feed = Feed(self.broadcast, queue, codecs, self._sounds, self._remark)
        began = time.monotonic()
        if self._taken:
            self.reconnects += 1
        feed.start()
        sending = loop.create_task(self._send(client, queue, writer, codecs))
        listening = loop.create_task(self._listen(client, reader, writer))
        try:
            await asyncio.wait({sending, listening}, return_when=asyncio.FIRST_COMPLETED)
            # what the target said comes before what failed because of it
            if listening.done():
                await listening
            await sending
        finally:
            feed.close()
            self._dropped += queue.dropped
            self._queue = None
            for task in (sending, listening):
                task.cancel()
            await asyncio.gather(sending, listening, return_exceptions=True)
            if time.monotonic() - began >= STEADY:
                self._failures = 0
            await self._part(client, writer)

    async def _listen(self, client: RtmpClient, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            for event in await self._hear(client, reader, writer):
                if isinstance(event, Turned):
                    raise Failed(event.reason, for_good=event.for_good)

    async def _send(
        self, client: RtmpClient, queue: QueueReader, writer: asyncio.StreamWriter, codecs: frozenset[Codec]
    ) -> None:
        out = _Out(client)
        while (item := await queue.read()) is not None:
            if isinstance(item, Sample):
                if not (message := out.sample(item)):
                    continue
                if self.state is not PushState.PUSHING:
                    self._refusals = 0
                    self._taken += 1
                    self._enter(PushState.PUSHING, "")
                self._write(writer, message)
            else:
                for track in item:
                    if track.codec not in codecs:
                        name = _NAMES[track.codec]
                        raise Failed(
                            f"the target does not say that it takes {name}: send H.264, or choose another target",
                            for_good=True,
                        )
                self._write(writer, out.timeline(item))
            await self._drained(writer)

    def _write(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        if data:
            writer.write(data)
            self.sent_bytes += len(data)
            now = time.monotonic()
            sent = self._sent
            if sent and now - sent[-1][0] < 0.25:
                sent[-1] = (sent[-1][0], sent[-1][1] + len(data))
            else:
                sent.append((now, len(data)))
                while now - sent[0][0] > RATE_SECONDS:
                    sent.popleft()

    async def _drained(self, writer: asyncio.StreamWriter) -> None:
        if writer.transport.get_write_buffer_size() <= WRITE_BUFFER:
            if writer.transport.is_closing():
                raise Failed("the target hung up")
            return
        seconds = self._options.timeout
        try:
            async with asyncio.timeout(seconds):
                await writer.drain()
        except TimeoutError:
            raise Failed(f"the target took nothing for {seconds:g} s") from None

    async def _part(self, client: RtmpClient, writer: asyncio.StreamWriter) -> None:
        """The last words, for as long as the target is willing to take them."""
        if writer.transport.is_closing() or not (words := client.farewell()):
            return
        try:
            async with asyncio.timeout(PARTING):
                writer.transport.set_write_buffer_limits(high=0)
                writer.write(words)
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (OSError, TimeoutError):
            pass


class _Out:
    """Samples to messages with times that never go back, over all timelines of one connection."""

    def __init__(self, client: RtmpClient) -> None:
        self._client = client
        self._clock = ProgrammeClock()
        self._tracks: dict[int, Track] = {}
        self._last: dict[int, int] = {}

    def timeline(self, tracks: tuple[Track, ...]) -> bytes:
        """The metadata and the sequence headers of what follows."""
        self._clock.restart()
        self._tracks = {track.id: track for track in tracks}
        at = max(self._last.values(), default=0)
        out = self._client.metadata(_metadata(tracks), at)
        for track in tracks:
            out += self._client.media(track.kind, flv.header(track), at)
            self._last[track.id] = at
        return out

    def sample(self, sample: Sample) -> bytes:
        track = self._tracks.get(sample.track)
        if track is None:
            return b""
        seconds = sample.dts / track.timescale
        offset = self._clock.place(seconds, seconds)
        at = int((seconds + offset) * 1000)
        if at < 0:
            return b""  # sound from before the first picture
        at = self._last[track.id] = max(at, self._last.get(track.id, 0))
        shown = int((sample.pts / track.timescale + offset) * 1000)
        return self._client.media(track.kind, flv.frame(track.codec, sample, shown - at), at)


class _Presence:
    """Whether somebody publishes: what a Pusher waits for between its connections."""

    def __init__(self, pusher: Pusher) -> None:
        self._pusher = pusher
        self._running = asyncio.Event()
        self._ended = asyncio.Event()

    @property
    def running(self) -> bool:
        return self._running.is_set()

    async def there(self) -> bool:
        """Once somebody publishes; False when the broadcast has ended."""
        await self._running.wait()
        return not self._ended.is_set()

    async def ended_within(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._ended.wait()
        except TimeoutError:
            pass

    def on_tracks(self, tracks: tuple[Track, ...]) -> None:
        self._running.set()

    def on_change(self, tracks: tuple[Track, ...]) -> None:
        pass

    def on_samples(self, batch: Sequence[Sample]) -> None:
        pass

    def on_interrupted(self) -> None:
        self._running.clear()
        self._pusher.on_away()

    def on_end(self) -> None:
        self._ended.set()
        self._running.set()


def _metadata(tracks: tuple[Track, ...]) -> dict[str, object]:
    """As encoders say it: sizes in pixels, rates in Hz and frames/s, codecs by FLV's number or their FourCC."""
    values: dict[str, object] = {"encoder": "Social-Flow"}
    for track in tracks:
        if track.kind is Kind.VIDEO:
            values |= {"width": track.width, "height": track.height, "videocodecid": flv.codec_id(track.codec)}
            if track.frame_rate:
                values["framerate"] = track.frame_rate
        else:
            values |= {
                "audiosamplerate": track.sample_rate,
                "audiosamplesize": 16,
                "audiochannels": track.channels,
                "stereo": track.channels == 2,
                "audiocodecid": flv.codec_id(track.codec),
            }
    return values


def _of_target(reason: str) -> str:
    return reason if reason.startswith("the target") else f"the target does not speak RTMP as it should: {reason}"


def _lost(error: OSError) -> str:
    """Without addresses: who owns the target need not learn what its name stands for here."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the target's certificate cannot be believed: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return "the target speaks no TLS that is understood here; is it rtmp:// without the s?"
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens at the target's address and port"
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        return "the target broke the connection"
    return f"the connection to the target failed: {error.strerror or type(error).__name__}"
