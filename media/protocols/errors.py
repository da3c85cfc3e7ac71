"""The errors of the wire formats: one tree, each with a sentence that its sender's owner can read.

ProtocolError
├── HandshakeError    the first bytes are not the protocol's
├── ChunkError        framing, or a size beyond its limit
├── AmfError          a value that cannot be read
├── CommandError      a message that makes no sense here
├── RtpError          an RTP or RTCP packet that cannot be read
├── StunError         a STUN message that cannot be read
├── SdpError          a session description that cannot be read, or has nothing that we can take
├── MediaError        a sequence header or frame that cannot be read
├── TimestampError    a clock that cannot be followed
└── UnsupportedMedia  well formed, but not something we carry
"""

from __future__ import annotations


class ProtocolError(Exception):
    """What came in cannot be served. `reason` is a sentence for the publisher, without secrets."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class HandshakeError(ProtocolError):
    pass


class ChunkError(ProtocolError):
    pass


class AmfError(ProtocolError):
    pass


class CommandError(ProtocolError):
    pass


class RtpError(ProtocolError):
    pass


class StunError(ProtocolError):
    pass


class SdpError(ProtocolError):
    pass


class MediaError(ProtocolError):
    pass


class TimestampError(ProtocolError):
    pass


class UnsupportedMedia(ProtocolError):
    pass
