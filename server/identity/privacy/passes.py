"""What takes a deleted account back: sealed by this installation, bound to one account and one departure."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from uuid import UUID

from server.kit.secrets import BrokenSeal, Secrets

_PURPOSE = "take an account back"
_ID = 16


def restore_pass(secrets: Secrets, user_id: UUID, due_at: datetime) -> str:
    return base64.urlsafe_b64encode(secrets.seal(_PURPOSE, user_id.bytes + _moment(due_at))).decode().rstrip("=")


def read_pass(secrets: Secrets, text: str) -> tuple[UUID, bytes]:
    """The account, and the departure to compare with `fits`. Raises BrokenSeal."""
    try:
        sealed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError) as error:
        raise BrokenSeal("this was not sealed here, or has been changed") from error
    plain = secrets.open(_PURPOSE, sealed)
    return UUID(bytes=plain[:_ID]), plain[_ID:]


def fits(departure: bytes, due_at: datetime) -> bool:
    return departure == _moment(due_at)


def _moment(at: datetime) -> bytes:
    return int(at.timestamp() * 1_000_000).to_bytes(8, "big")
