"""WebRTC on one UDP port: ICE-lite is ours, DTLS and SRTP are aiortc's; docs/decisions/0009 says why."""
