"""What a viewer's offer comes to, for a broadcast in the codecs that it is in."""

from __future__ import annotations

import secrets

from media.egress.outgoing import Format
from media.egress.whep import Section
from media.protocols.rtp.packet import MID, TRANSPORT_CC
from media.protocols.sdp import Description
from media.rtc.offer import Agreement, Stream, Wanted, take
from media.samples import Codec, Kind, Track

PICTURES = (Codec.H264, Codec.VP9, Codec.AV1)


def agree(offer: Description, picture: Track | None) -> Agreement:
    """picture: the broadcast's own, None when it is not known (yet). The picture may come in other codecs too, as
    derived renditions do. Raises SdpError, and NothingInCommon also for an offer that has not the picture's codec."""
    codecs = list(PICTURES)
    if picture is not None and picture.codec in codecs:
        codecs.remove(picture.codec)
        codecs.insert(0, picture.codec)
    profile = picture.config[1] if picture is not None and picture.codec is Codec.H264 else 0
    wanted = [Wanted(codec, profile if codec is Codec.H264 else 0) for codec in codecs]
    return take(offer, [*wanted, Wanted(Codec.OPUS)], receive=False, every=True)


def plays(agreement: Agreement, codec: Codec) -> bool:
    """Whether the agreement has this codec of a picture; also when the offer is about sound alone."""
    section = agreement.of(Kind.VIDEO)
    return section is None or any(one.codec is codec for one in section.formats)


def sections_of(agreement: Agreement) -> dict[Kind, Section]:
    """What a Viewer needs to know, with sources made up for it."""
    found: dict[Kind, Section] = {}
    for agreed in agreement.sections:
        found[agreed.kind] = Section(
            mid=agreed.mid,
            formats={one.codec: Format(one.format.payload_type, one.rtx or None) for one in agreed.formats},
            ssrc=1 + secrets.randbelow(0xFFFFFFFE),
            rtx_ssrc=1 + secrets.randbelow(0xFFFFFFFE),
            mid_id=agreed.extensions.get(MID, 0),
            transport_id=agreed.extensions.get(TRANSPORT_CC, 0) if agreed.transport_cc else 0,
        )
    return found


def streams_of(sections: dict[Kind, Section], cname: str) -> dict[str, Stream]:
    """What the answer says of what is sent: one stream, so that players keep picture and sound together."""
    return {
        section.mid: Stream(section.ssrc, section.rtx_ssrc, cname, f"{cname} {kind.value}")
        for kind, section in sections.items()
    }
