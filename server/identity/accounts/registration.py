"""How an account is made, and how its address becomes its own.

An address belongs to the account that has shown that it reads its mail, and to no other. Registering with an address
makes a claim; any number of accounts may claim one that nobody owns. Registering answers the same, after the same work
(one hash, the same statements, one mail), whatever is known about the address: a new account with a username of its
own, signed in, its address unverified. What differs is the mail alone, which only the address's reader sees: the link
that verifies, or "you already have an account". A claim on an address that has an owner is void from the start, and a
claim lapses when somebody else makes good on his; neither shows to who holds it, or he would learn who has an account.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from server.identity import store as accounts
from server.identity.accounts import links, store
from server.identity.accounts.links import Purpose
from server.identity.accounts.quality import check_password
from server.identity.errors import EmailTaken, NoSuchAccount, RegistrationClosed, UsernameTaken
from server.identity.ground import Ground
from server.identity.guesses import Guesses
from server.identity.models import Account, RegisterBody, SignedIn
from server.identity.names import check_email, check_username, email_key
from server.identity.signin import SignIn
from server.kit.auth import ADMIN, Origin
from server.kit.clock import now
from server.kit.ids import uuid7
from server.kit.problems import NotFound
from storage.postgres import Connection


class Registration:
    """Owns nothing."""

    def __init__(self, ground: Ground, sign_in: SignIn, guesses: Guesses) -> None:
        self._ground = ground
        self._sign_in = sign_in
        self._guesses = guesses

    async def register(self, body: RegisterBody, origin: Origin) -> SignedIn:
        """Raises RegistrationClosed, Invalid, UsernameTaken, HashingBusy."""
        ground = self._ground
        if ground.settings.registration == "closed":
            raise RegistrationClosed("Registration is closed on this server. Ask its administrator for an account.")
        account, key, owner = await self._prepare(body.email, check_username(body.username), body.password, [])
        async with ground.database.transaction() as connection:
            await self._insert(connection, account, key)
            await self._ask(connection, account, key, owner)
            await ground.audit.record(connection, account.id, "account.registered", origin)
            return await self._sign_in.open_session(connection, account, origin, methods=["pwd"])

    async def create_admin(self, email: str, username: str, password: str) -> Account:
        """An account with the role admin and a verified address. Raises Invalid, UsernameTaken, EmailTaken."""
        name = check_username(username, operator=True)
        account, key, owner = await self._prepare(email, name, password, [ADMIN])
        if owner is not None:
            raise EmailTaken(f"Another account has verified {email}.")
        async with self._ground.database.transaction() as connection:
            return await self._insert_owner(connection, account, key)

    async def add(
        self, connection: Connection, username: str, email: str, *, verified: bool, display_name: str = ""
    ) -> Account:
        """An account without a password, for who comes by another way, in the caller's transaction.

        email: empty when none is known. verified: somebody trustworthy says that he reads this address.
        Raises Invalid, UsernameTaken, EmailTaken.
        """
        if not email:
            account = _new(check_username(username), "", "", [], display_name)
            await self._insert(connection, account, "")
            return account
        email, key = check_email(email)
        account = _new(check_username(username), email, "", [], display_name)
        await store.lock_address(connection, key)
        owners = await accounts.by_email(connection, key)
        owner = owners[0] if owners and owners[0].email_verified_at is not None else None
        if verified:
            if owner is not None:
                raise EmailTaken("Another account has verified this address; sign in to it and link the two.")
            return await self._insert_owner(connection, account, key)
        await self._insert(connection, account, key)
        await self._ask(connection, account, key, owner)
        return account

    async def send_again(self, user_id: UUID) -> None:
        """Another mail to the address of an account that has not verified it; nothing when it has.

        Raises NoSuchAccount.
        """
        async with self._ground.database.transaction() as connection:
            account = await accounts.lock(connection, user_id)
            if account is None:
                raise NoSuchAccount("This account is gone.")
            if account.email_verified_at is not None or not account.email:
                return
            key = email_key(account.email)
            owners = await accounts.by_email(connection, key)
            owner = owners[0] if owners and owners[0].email_verified_at is not None else None
            await self._ask(connection, account, key, owner)

    async def verify(self, token: str, origin: Origin) -> None:
        """The reader of a mail has followed its link. Raises BadLink, EmailTaken."""
        at = now()
        async with self._ground.database.transaction() as connection:
            mailed = await links.spend(connection, token, Purpose.VERIFY, at)
            account = await accounts.by_id(connection, mailed.user_id)
            if account is None or email_key(account.email) != mailed.email_key:
                raise NotFound("This account is gone, or has another address now.")
            await self.own(connection, account, mailed.email, mailed.email_key, at)
            await self._ground.audit.record(connection, account.id, "email.verified", origin, email=mailed.email)

    async def own(self, connection: Connection, account: Account, email: str, key: str, at: datetime) -> None:
        """From now on the address is this account's; other claims lapse. The address is locked by the caller.

        Raises EmailTaken.
        """
        if not await store.own_address(connection, account.id, email, key, at):
            raise EmailTaken("Another account has verified this address meanwhile.")
        await store.lapse_claims(connection, key, account.id, at)

    async def _ask(self, connection: Connection, account: Account, key: str, owner: Account | None) -> None:
        """One mail to the address: to its owner, or to whoever may become it."""
        ground, at = self._ground, now()
        life = timedelta(hours=ground.settings.verify_email_hours)
        if owner is not None and owner.id == account.id:
            return
        await store.lapse(connection, account.id, None if owner is None else at)
        token = await links.issue(connection, account, Purpose.VERIFY, account.email, key, life)
        if not await self._guesses.may_mail(connection, key, Purpose.VERIFY):
            return
        if owner is None:
            values: dict[str, object] = {
                "username": account.username,
                "url": ground.url(f"account/verify#token={token}"),
                "hours": round(ground.settings.verify_email_hours),
            }
            await ground.mailer.send(connection, account.email, "verify_email", values)
        else:
            await self.tell_owner(connection, owner)

    async def tell_owner(self, connection: Connection, owner: Account) -> None:
        """Somebody has tried to make an account with an address that has one."""
        values: dict[str, object] = {
            "username": owner.username,
            "url_login": self._ground.url("account"),
            "url_reset": self._ground.url("account/reset"),
        }
        await self._ground.mailer.send(connection, owner.email, "already_registered", values)

    async def _prepare(
        self, email: str, username: str, password: str, roles: list[str]
    ) -> tuple[Account, str, Account | None]:
        """The account to be, its address as compared, and who owns that."""
        ground = self._ground
        email, key = check_email(email)
        await check_password(password, ground.settings.password_min_length, username, email)
        async with ground.database.acquire() as connection:
            if await accounts.by_username(connection, username) is not None:
                raise _taken(username)
            sharing = await accounts.by_email(connection, key)
        owner = sharing[0] if sharing and sharing[0].email_verified_at is not None else None
        like = sharing[0].password_hash or None if sharing and owner is None else None
        return _new(username, email, await ground.passwords.hash(password, like), roles), key, owner

    async def _insert(self, connection: Connection, account: Account, key: str) -> None:
        if not await accounts.insert_account(connection, account, key):
            raise _taken(account.username)

    async def _insert_owner(self, connection: Connection, account: Account, key: str) -> Account:
        await store.lock_address(connection, key)
        await self._insert(connection, account, key)
        await self.own(connection, account, account.email, key, account.created_at)
        return account.verified(account.created_at)


def _new(username: str, email: str, hash: str, roles: list[str], display_name: str = "") -> Account:
    return Account(
        id=uuid7(),
        username=username,
        display_name=display_name or username,
        email=email,
        email_verified_at=None,
        password_hash=hash,
        roles=roles,
        created_at=now(),
        disabled_at=None,
    )


def _taken(username: str) -> UsernameTaken:
    return UsernameTaken(f"The username {username} is taken; choose another.")
