"""Recovery codes: for when the phone is gone. Ten, each good once; their hashes are stored, keyed by the installation's
secret, so that a copy of the database does not even allow guessing.
"""

from __future__ import annotations

import hmac
import secrets as random
from uuid import UUID

from server.kit.secrets import Secrets

COUNT = 10
FEW = 3
"""With so many left or fewer, people are told."""
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: nothing that looks like something else
_GROUPS, _GROUP = 3, 4  # 60 bits
_LOOKS_LIKE = str.maketrans({"o": "0", "i": "1", "l": "1"})
_PURPOSE = "recovery codes"


def new_codes() -> list[str]:
    return [
        "-".join("".join(random.choice(_ALPHABET) for _ in range(_GROUP)) for _ in range(_GROUPS)) for _ in range(COUNT)
    ]


def hash_code(secrets: Secrets, user_id: UUID, code: str) -> bytes:
    """The same for every way of writing a code: case, hyphens, spaces, O for 0."""
    plain = code.lower().replace("-", "").replace(" ", "").translate(_LOOKS_LIKE)
    return hmac.digest(secrets.key(_PURPOSE), user_id.bytes + plain.encode(errors="replace"), "sha256")
