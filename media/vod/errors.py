"""What can be wrong with a source, and with the work on it.

VodError
├── BadSource     the file is at fault: `code` and a sentence for whoever uploaded it; to try again is no use
└── EngineFailed  the work failed (a child died, hung or was killed): to try again may help
"""

from __future__ import annotations

CODES = ("not_a_video", "damaged", "too_long", "too_large_picture", "unsupported_codec", "no_media")
"""Every code of BadSource."""


class VodError(Exception):
    """`reason` is a sentence without secrets or paths."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class BadSource(VodError):
    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class EngineFailed(VodError):
    pass
