"""What slows down whoever guesses passwords, without shutting out the owner.

Counts are rows in PostgreSQL, so that they hold for a whole fleet; this module owns only the way they are named. Each
attempt counts as wrong before the password is looked at, so a thousand at once are a thousand, and is forgiven when it
was right. A refused attempt costs no hash and makes no wait longer.

Three counts, each of which grows its own wait from a number of attempts on (it doubles, up to a bound, and is forgotten
after a day without attempts):

- of one name from one place: the device, when the account knows its cookie; else the network;
- of one name from all places where the account has never signed in, together: a botnet shares that;
- of one address, for all names: trying one password on many accounts.

The last two do not hold for a place the account is at home in: strangers' guesses do not keep its owner out there. The
owner who is new at a place and finds the door shut resets the password by mail, which always works and makes the place
a known one. What is counted is the name as typed, known or not, so that waits tell nobody which accounts exist, nor
which address belongs to which username.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from server.identity.accounts import store
from server.identity.errors import TooManyAttempts
from server.identity.names import email_key
from server.kit.auth import Origin
from server.kit.clock import now
from server.kit.limits import address_key
from server.kit.secrets import Secrets
from server.settings import Settings
from storage.postgres import Connection

FORGET = timedelta(days=1)
AT_HOME_FOR = timedelta(days=400)
_PLACES = 50  # that one account is at home in
_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Guess:
    """One attempt that has been counted. locked: the account's count has just reached its bound."""

    here: bytes
    others: tuple[bytes, ...]
    locked: bool


class Guesses:
    def __init__(self, secrets: Secrets, settings: Settings) -> None:
        self._secrets = secrets
        self._settings = settings

    async def count(self, connection: Connection, name: str, users: Sequence[UUID], origin: Origin) -> Guess:
        """One more attempt at this name, whose candidates are these accounts, in the caller's transaction.

        Raises TooManyAttempts, upon which the transaction must be rolled back.
        """
        settings, at = self._settings, now()
        device, network = self._places(origin)
        known = await store.is_known(connection, users, [device, network])
        name = email_key(name)  # as accounts are found: another way of writing it is no other name
        here = self._key("here", name, device.hex() if device in known else network.hex())
        lanes = {here: settings.wrong_passwords}
        everywhere = self._key("name", name)
        if not known:
            lanes[everywhere] = settings.wrong_passwords_account
            lanes[self._key("address", network.hex())] = settings.wrong_passwords_address
        locked = False
        for key in sorted(lanes):  # always in this order, so that two attempts do not wait for each other
            failures, wait = await store.attempt(
                connection,
                key,
                after=max(lanes[key], 1),
                wait=settings.wrong_password_wait,
                most=settings.wrong_password_wait_most,
                forget=FORGET,
                at=at,
            )
            if wait:
                raise TooManyAttempts(
                    "Too many wrong passwords; wait, or set a new password by mail: that always works.", wait
                )
            locked = locked or (key == everywhere and failures == settings.wrong_passwords_account)
        return Guess(here, tuple(key for key in lanes if key != here), locked)

    async def right(self, connection: Connection, guess: Guess) -> None:
        """It was the password: the place starts anew; strangers' failures stay counted."""
        await store.forgive(connection, [guess.here])
        await store.uncount(connection, guess.others)

    async def forgive(self, connection: Connection, names: Sequence[str], origin: Origin) -> None:
        """The owner has shown himself another way: whatever was guessed before counts no more, and not here."""
        device, network = self._places(origin)
        keys = []
        for name in {email_key(name) for name in names if name}:
            keys += [self._key("name", name)]
            keys += [self._key("here", name, place.hex()) for place in (device, network)]
        await store.forgive(connection, keys)

    async def at_home(self, connection: Connection, user_id: UUID, origin: Origin) -> bool:
        """The account has signed in from there. Whether it had before, or this is its first time anywhere."""
        if not origin.address and not origin.device:
            return True
        device, network = self._places(origin)
        keys = [key for key, there in ((device, origin.device), (network, origin.address)) if there]
        return await store.remember(connection, user_id, keys, now(), _PLACES) > 0

    async def may_mail(self, connection: Connection, address: str, purpose: str) -> bool:
        """Whether one more mail that anybody can cause may go to this address: so many an hour.

        Each purpose counts by itself, so that whoever registers with a stranger's address again and again does not keep
        the stranger from a new password; and its mails come again before the link of the last one is too old.
        """
        pause = _HOUR.total_seconds()
        if purpose == "reset":
            pause = min(pause, self._settings.reset_password_minutes * 60 / 2)
        _, wait = await store.attempt(
            connection,
            self._key("mail", purpose, _mailbox(address)),
            after=max(self._settings.account_mails_per_hour, 1),
            wait=pause,
            most=pause,
            forget=_HOUR,
            at=now(),
        )
        return not wait

    def _places(self, origin: Origin) -> tuple[bytes, bytes]:
        return self._key("device", origin.device), self._key("network", address_key(origin.address))

    def _key(self, *parts: str) -> bytes:
        return hmac.digest(self._secrets.key("attempts"), "\x00".join(parts).encode(errors="replace"), "sha256")


def _mailbox(address: str) -> str:
    """What many providers deliver to one mailbox: ada+one@… and a.da@… are ada@…."""
    local, _, domain = address.rpartition("@")
    return f"{local.partition('+')[0].replace('.', '')}@{domain}"
