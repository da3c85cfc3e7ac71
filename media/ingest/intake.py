"""From a publisher's FLV tags to tracks and samples.

An Intake lives as long as one publishing. It gathers samples until `flush`, which hands them on as one batch; what must
not share a batch (a new configuration, a clock that jumped) flushes by itself first.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace

from media.ingest.gate import Publisher
from media.ingest.timeline import Timeline
from media.protocols import aac, av1, h26x, opus, vp9
from media.protocols.errors import MediaError
from media.protocols.flv import Action, Tag, parse_audio, parse_video
from media.samples import VIDEO_TIMESCALE, Codec, Sample, Track

VIDEO_ID, AUDIO_ID = 1, 2
MAX_DAMAGED = 300
"""Frames in a row that cannot be used before the publisher is told so."""


MAX_CHANGES = 10
CHANGE_WINDOW = 60.0
"""Each new configuration cuts a segment, or is a new timeline: no more of them within so many seconds."""


class Intake:
    def __init__(
        self, publisher: Publisher, *, max_ahead: float = 30.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """max_ahead: seconds that media may come before its time. clock: seconds, from anywhere."""
        self.damaged = 0
        """Frames dropped because they cannot be what they claim."""
        self._publisher = publisher
        self._timeline = Timeline(max_ahead=max_ahead, clock=clock)
        self._clock = clock
        self._changes: deque[float] = deque()
        self._batch: list[Sample] = []
        self._frame_rate = 0.0
        self._video: Track | None = None
        self._audio: Track | None = None
        self._video_header = b""
        self._audio_header = b""
        self._length_size = 0
        self._frame = 0  # samples in a frame of sound, 0: each packet tells
        self._waiting_for_key = True
        self._bad_run = 0

    def metadata(self, values: Mapping[str, object]) -> None:
        """onMetaData: only the frame rate is believed; sizes come from the sequence headers, which cannot be wrong."""
        for name in ("framerate", "videoframerate", "fps"):
            rate = values.get(name)
            if isinstance(rate, str):
                try:
                    rate = float(rate)
                except ValueError:
                    continue
            if isinstance(rate, int | float) and 0 < rate <= 1000:
                self._frame_rate = float(rate)
                return

    def video(self, timestamp: int, body: bytes) -> None:
        """Raises ProtocolError."""
        tag = parse_video(body)
        if tag.action is not Action.FRAME:
            if tag.action is Action.HEADER:
                self._video_config(tag)
            return
        track = self._video
        if not tag.data:
            return
        if track is None or tag.codec is not track.codec:
            self._bad("came before their sequence header")
            return
        if tag.codec is Codec.AV1 or tag.codec is Codec.VP9:
            tag = self._prepare(tag, track)
        elif not self._whole(tag.data):
            return
        if self._waiting_for_key and not tag.key:
            return
        times = self._timeline.video(timestamp, tag.composition)
        if times is None:
            return
        if self._timeline.jumped:
            self._restart()
            if not tag.key:
                return
        self._waiting_for_key = False
        self._batch.append(Sample(VIDEO_ID, times[0], times[1], tag.key, tag.data))

    def audio(self, timestamp: int, body: bytes) -> None:
        """Raises ProtocolError."""
        tag = parse_audio(body)
        if tag.action is not Action.FRAME:
            if tag.action is Action.HEADER:
                self._audio_config(tag)
            return
        track = self._audio
        if not tag.data:
            return
        if track is None or tag.codec is not track.codec:
            self._bad("came before their sequence header")
            return
        data = tag.data
        if self._frame:
            frame = self._frame
            if data[0] == 0xFF:
                data = aac.without_adts(data)
        else:
            frame = opus.packet_samples(data)
            if not frame:
                self._bad("are not what their codec says")
                return
        dts = self._timeline.audio(timestamp, track.timescale, frame)
        if dts is None:
            return
        if self._timeline.jumped:
            self._restart()
        self._batch.append(Sample(AUDIO_ID, dts, dts, True, data, frame))

    def flush(self) -> None:
        """Hand on what has gathered."""
        if self._batch:
            batch, self._batch = self._batch, []
            self._publisher.samples(batch)

    def _restart(self) -> None:
        """The clock jumped: the sample that showed it goes after the discontinuity, pictures wait for a key frame."""
        self._timeline.jumped = False
        self.flush()
        self._publisher.restart()
        self._waiting_for_key = True

    def _announce(self, track: Track) -> None:
        now = self._clock()
        changes = self._changes
        while changes and now - changes[0] >= CHANGE_WINDOW:
            changes.popleft()
        changes.append(now)
        if len(changes) > MAX_CHANGES:
            raise MediaError(
                f"the format of picture or sound changed {len(changes)} times within a minute; at most {MAX_CHANGES}"
            )
        self.flush()
        self._publisher.track(track)

    def _video_config(self, tag: Tag) -> None:
        config, codec = tag.data, tag.codec
        track = self._video
        if not config or (track is not None and track.codec is codec and config == self._video_header):
            return
        if codec is Codec.VP9:
            body, name = vp9.parse_vpcc(config)
            parsed = h26x.VideoConfig(name, 0, 0)
        else:
            body = config
            if codec is Codec.H264:
                parsed = h26x.parse_avcc(config)
            elif codec is Codec.HEVC:
                parsed = h26x.parse_hvcc(config)
            elif len(config) == 4:
                parsed = h26x.VideoConfig("", 0, 0)  # the sequence header comes in the first key frame
            else:
                parsed = av1.parse_av1c(config)
        self._video_header = config
        self._length_size = parsed.length_size
        self._waiting_for_key = True
        self._video = Track(
            id=VIDEO_ID,
            codec=codec,
            timescale=VIDEO_TIMESCALE,
            config=body,
            codec_string=parsed.codec_string,
            width=parsed.width,
            height=parsed.height,
            frame_rate=self._frame_rate or round(parsed.frame_rate, 3),
        )
        if parsed.width:
            self._announce(self._video)

    def _audio_config(self, tag: Tag) -> None:
        config, codec = tag.data, tag.codec
        track = self._audio
        if track is not None and track.codec is codec and config == self._audio_header:
            return
        if codec is Codec.AAC:
            if not config:
                return
            parsed = aac.parse_asc(config)
            rate, channels, body, name = parsed.sample_rate, parsed.channels, config, parsed.codec_string
            self._frame = parsed.frame
        else:
            body, channels = opus.parse_head(config)
            rate, name = opus.RATE, "opus"
            self._frame = 0
        self._audio_header = config
        self._audio = Track(
            id=AUDIO_ID,
            codec=codec,
            timescale=rate,
            config=body,
            codec_string=name,
            sample_rate=rate,
            channels=channels,
        )
        self._announce(self._audio)

    def _prepare(self, tag: Tag, track: Track) -> Tag:
        """AV1 and VP9: what a key frame tells of its size, and frames as the file format stores them."""
        data = av1.without_delimiter(tag.data) if tag.codec is Codec.AV1 else tag.data
        self._bad_run = 0
        if not tag.key:
            return tag._replace(data=data)
        if tag.codec is Codec.VP9:
            width, height = vp9.key_frame_size(data)
            if (width, height) != (track.width, track.height):
                self._video = replace(track, width=width, height=height)
                self._announce(self._video)
        elif not track.width:
            header = av1.sequence_header(data)
            if not header:
                raise MediaError("the AV1 stream has no sequence header")
            parsed = av1.parse_av1c(track.config + header)
            self._video = replace(
                track,
                config=track.config + header,
                codec_string=parsed.codec_string,
                width=parsed.width,
                height=parsed.height,
                frame_rate=track.frame_rate or round(parsed.frame_rate, 3),
            )
            self._announce(self._video)
        return tag._replace(data=data)

    def _whole(self, data: bytes) -> bool:
        """Whether the first NAL unit lies within the frame; damaged frames are counted and dropped."""
        size = self._length_size
        if size + int.from_bytes(data[:size], "big") <= len(data) and len(data) > size:
            self._bad_run = 0
            return True
        self._bad("are not what their codec says")
        return False

    def _bad(self, what: str) -> None:
        self.damaged += 1
        self._bad_run += 1
        if self._bad_run > MAX_DAMAGED:
            raise MediaError(f"{self._bad_run} frames in a row {what}")
