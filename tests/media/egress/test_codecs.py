"""Pictures that are not H.264: what a viewer by WebRTC gets of VP9 and AV1 is what its publisher sent."""

from __future__ import annotations

import pytest

from media.broadcast import Broadcast
from media.egress.outgoing import Format
from media.egress.programme import Programmes
from media.egress.whep import Section, Viewer, ViewerOptions
from media.ingest.gate import PublishRequest
from media.protocols.rtp.av1 import Av1Depacketizer
from media.protocols.rtp.vp9 import Vp9Depacketizer
from media.samples import Codec, Kind, Sample
from tests.media.egress.conftest import OPUS, VIDEO_RTX, VIDEO_SSRC, FarEnd
from tests.media.protocols.rtp_streams import av1_sent
from tests.media.protocols.test_rtp_codecs import vp9_sent
from tests.media.test_broadcast import FakeLink, Log
from tests.support import eventually


@pytest.mark.parametrize("codec", [Codec.VP9, Codec.AV1])
async def test_a_viewer_gets_the_frames_that_were_sent(codec: Codec) -> None:
    reader, stream = (Vp9Depacketizer, vp9_sent()) if codec is Codec.VP9 else (Av1Depacketizer, av1_sent())
    depacketizer = reader()
    frames = [frame for packet in stream.packets for frame in depacketizer.push(packet)]
    track = frames[0].track
    assert track is not None
    broadcast, programmes = Broadcast("b", Log()), Programmes()
    session = broadcast.open(PublishRequest("whip", "k", "127.0.0.1", "test", FakeLink()))
    session.track(track)
    session.track(OPUS)
    programme = programmes.hold(broadcast)
    sections = {Kind.VIDEO: Section("0", {codec: Format(98)}, VIDEO_SSRC, VIDEO_RTX)}
    gone: list[str] = []
    viewer = Viewer(programme, sections, lambda _, reason: gone.append(reason), ViewerOptions(settle=0), "cname")
    far = FarEnd()
    viewer.attach(far)
    viewer.on_connected()
    for frame in frames:
        at = (frame.timestamp - frames[0].timestamp) & 0xFFFFFFFF
        session.samples([Sample(track.id, at, at, frame.key, frame.data)])
    got = reader()
    marked = len(frames)
    await eventually(lambda: sum(packet.marker for packet in far.packets) == marked)
    found = [frame for packet in far.of(VIDEO_SSRC) for frame in got.push(packet)]
    assert [(frame.key, frame.data) for frame in found] == [(frame.key, frame.data) for frame in frames]
    assert found[0].track == track
    assert not gone
    viewer.close("enough")
    programmes.close()
