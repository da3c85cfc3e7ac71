"""Wrong answers of one kind for an account make the next ones wait, longer and longer, whatever address they come from.

A six-digit code is guessed by whoever may try often enough, so this is counted for the account; it is reached only by
those who have its password or a session of it. It never holds up passkeys and recovery codes, which cannot be guessed:
nobody locks the owner out. The longest wait leaves a guesser 24 codes a day, a chance of one in ten thousand.
"""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from server.identity.factors import store
from server.kit.clock import now
from storage.postgres import Connection

TOTP = "totp"
SETUP = "totp setup"
PASSWORD = "step-up password"

FREE = 5
"""So many wrong answers cost no wait."""
FIRST = timedelta(seconds=30)
LONGEST = timedelta(hours=1)
FORGOTTEN = timedelta(hours=24)


async def wait(connection: Connection, user_id: UUID, kind: str) -> float:
    """Seconds until the next answer is heard; 0: now."""
    _, _, until = await store.failures(connection, user_id, kind)
    return 0.0 if until is None else max((until - now()).total_seconds(), 0.0)


async def failed(connection: Connection, user_id: UUID, kind: str) -> tuple[timedelta | None, bool]:
    """Count a wrong answer: the wait that begins with it, if one does, and whether it is the first of a row."""
    count, last, _ = await store.failures(connection, user_id, kind)
    moment = now()
    if last is not None and moment - last > FORGOTTEN:
        count = 0
    count += 1
    pause = wait_after(count)
    await store.set_failures(connection, user_id, kind, count, moment, None if pause is None else moment + pause)
    return pause, count == FREE


async def succeeded(connection: Connection, user_id: UUID, kind: str) -> None:
    await store.clear_failures(connection, user_id, kind)


def wait_after(failures: int) -> timedelta | None:
    """Doubles with every wrong answer from the fifth on."""
    if failures < FREE:
        return None
    return LONGEST if failures - FREE > 10 else min(FIRST * 2 ** (failures - FREE), LONGEST)
