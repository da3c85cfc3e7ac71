"""The floor of forwarding: pylibsrtp's protect and a UDP send, for frames of nine packets 30 times a second.

The profile (AEAD_AES_128_GCM) and the size of the packets are those that viewers of our server get.

`python -m bench.peers.rtc_floor PORT,PORT… SECONDS` sends to these, and writes CPU s per million packets.
"""

from __future__ import annotations

import resource
import socket
import struct
import sys
import time

from pylibsrtp import Policy, Session

FRAME, RATE, SIZE = 9, 30, 1200


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main(ports: list[int], seconds: float) -> None:
    addresses = [("127.0.0.1", port) for port in ports]
    keys = [
        Session(
            Policy(
                key=bytes(range(28)),
                ssrc_type=Policy.SSRC_ANY_OUTBOUND,
                srtp_profile=Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
            )
        )
        for _ in ports
    ]
    out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    body = bytes(SIZE - 12)
    began, used, frames = time.monotonic(), cpu(), 0
    while time.monotonic() - began < seconds:
        for number in range(frames * FRAME, (frames + 1) * FRAME):
            packet = struct.pack(">BBHII", 0x80, 96, number & 0xFFFF, frames * 3000 & 0xFFFFFFFF, 1) + body
            for key, address in zip(keys, addresses, strict=True):
                out.sendto(key.protect(packet), address)
        frames += 1
        if (wait := began + frames / RATE - time.monotonic()) > 0:
            time.sleep(wait)
    sent = frames * FRAME * len(ports)
    sys.stdout.write(f"{(cpu() - used) / sent * 1e6:.3f}\n")


main([int(port) for port in sys.argv[1].split(",")], float(sys.argv[2]))
