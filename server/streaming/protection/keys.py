"""Keys of videos: random, one for each video at a time, sealed with the secret of the installation. Keeps none."""

from __future__ import annotations

import secrets as random
from uuid import UUID, uuid4

from media.package.protect import Key
from server.kit.secrets import Secrets
from server.streaming.protection.models import Protection, Scheme

PURPOSE = "keys of videos"
KEY_BYTES = 16


class Keys:
    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    def make(self, video_id: UUID, scheme: Scheme) -> Protection | None:
        """With a new key. None: of Scheme.NONE."""
        if scheme is Scheme.NONE:
            return None
        key_id = uuid4()  # it stands in names, and a uuid7 would tell when it was made
        sealed = self._secrets.seal(PURPOSE, random.token_bytes(KEY_BYTES), _bound(video_id, key_id))
        return Protection(scheme, key_id, sealed)

    def open(self, video_id: UUID, protection: Protection) -> Key:
        """Raises BrokenSeal."""
        bound = _bound(video_id, protection.key_id)
        return Key(protection.key_id.bytes, self._secrets.open(PURPOSE, protection.sealed_key, bound))


def _bound(video_id: UUID, key_id: UUID) -> bytes:
    return video_id.bytes + key_id.bytes
