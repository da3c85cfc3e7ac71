"""A signed-in person changes the password or the address."""

from __future__ import annotations

import time
from datetime import timedelta

from server.identity import store as accounts
from server.identity.accounts import links, store
from server.identity.accounts.links import Purpose
from server.identity.accounts.quality import check_password
from server.identity.accounts.registration import Registration
from server.identity.errors import BadLink, NoSuchAccount, PasswordChangedMeanwhile, WrongPassword
from server.identity.ground import Ground
from server.identity.guesses import Guesses
from server.identity.models import Account, ChangePasswordBody
from server.identity.names import check_email, email_key
from server.identity.notices import email_changed, password_changed
from server.identity.privacy import store as exports
from server.kit.auth import Caller, Origin
from server.kit.clock import now
from server.kit.problems import Invalid, StepUpRequired


class Changes:
    """Owns nothing."""

    def __init__(self, ground: Ground, registration: Registration, guesses: Guesses) -> None:
        self._ground = ground
        self._registration = registration
        self._guesses = guesses

    async def password(self, caller: Caller, body: ChangePasswordBody, origin: Origin) -> None:
        """The present password is guessed at no faster than at the door. All other sessions end.

        Raises WrongPassword, StepUpRequired, Invalid, TooManyAttempts, PasswordChangedMeanwhile, HashingBusy.
        """
        ground = self._ground
        async with ground.database.acquire() as connection:
            account = await accounts.by_id(connection, caller.user_id)
        if account is None:
            raise NoSuchAccount("This account is gone.")
        await self._prove(caller, account, body.current_password, origin)
        await check_password(body.password, ground.settings.password_min_length, account.username, account.email)
        # accounts that share an unowned address share their salt, so that signing in with it stays one hash
        like = account.password_hash if account.password_hash and account.email_verified_at is None else None
        hash = await ground.passwords.hash(body.password, like)
        async with ground.database.transaction() as connection:
            locked = await accounts.lock(connection, account.id)
            if locked is None or locked.password_hash != account.password_hash:
                raise PasswordChangedMeanwhile("The password was changed a moment ago; try again.")
            await store.set_password(connection, account.id, hash)
            # a change of address that somebody else began in a session of this account must not outlive that session
            await store.void_mail_tokens(connection, account.id, [Purpose.RESET, Purpose.CHANGE])
            ended = [id for id in await accounts.live_sessions(connection, account.id) if id != caller.session_id]
            await accounts.revoke_sessions(connection, ended, "the password was changed", now())
            await ground.audit.record(connection, account.id, "password.changed", origin, sessions_ended=len(ended))
            await password_changed(ground, connection, account, origin)
        ground.ended(ended)

    async def email(self, caller: Caller, address: str) -> None:
        """Have a link sent to the address that shall be the account's. Nobody learns here whether it has an owner:
        that one is told by mail. Raises Invalid."""
        ground, at = self._ground, now()
        address, key = check_email(address)
        hours = ground.settings.verify_email_hours
        async with ground.database.transaction() as connection:
            await store.lock_address(connection, key)
            account = await accounts.by_id(connection, caller.user_id)
            if account is None:
                raise NoSuchAccount("This account is gone.")
            if key == email_key(account.email) and account.email_verified_at is not None and address == account.email:
                raise Invalid.at("$.email", "this is the account's address already")
            sharing = await accounts.by_email(connection, key)
            owner = sharing[0] if sharing and sharing[0].email_verified_at is not None else None
            token = await links.issue(connection, account, Purpose.CHANGE, address, key, timedelta(hours=hours))
            if not await self._guesses.may_mail(connection, key, Purpose.CHANGE):
                return
            if owner is not None and owner.id != account.id:
                await store.void_mail_tokens(connection, account.id, [Purpose.CHANGE])
                await self._registration.tell_owner(connection, owner)
                return
            values: dict[str, object] = {
                "username": account.username,
                "url": ground.url(f"account/email#token={token}"),
                "hours": round(hours),
            }
            await ground.mailer.send(connection, address, "confirm_new_email", values)
        del at

    async def confirm_email(self, token: str, origin: Origin) -> None:
        """The reader of the new address has followed the link: it is the account's. The old one is told.

        Raises BadLink, EmailTaken.
        """
        ground, at = self._ground, now()
        async with ground.database.transaction() as connection:
            mailed = await links.spend(connection, token, Purpose.CHANGE, at)
            account = await accounts.lock(connection, mailed.user_id)
            if account is None or account.disabled_at is not None:
                raise BadLink("This account is gone.")
            await self._registration.own(connection, account, mailed.email, mailed.email_key, at)
            await store.void_mail_tokens(connection, account.id, [Purpose.VERIFY, Purpose.RESET])
            await exports.void_links(connection, account.id)  # they lie in the old mailbox
            await ground.audit.record(
                connection, account.id, "email.changed", origin, old=account.email, new=mailed.email
            )
            await email_changed(ground, connection, account, mailed.email)

    async def _prove(self, caller: Caller, account: Account, password: str | None, origin: Origin) -> None:
        """The person knows the present password; or, for an account without one, has just shown a factor."""
        ground = self._ground
        if not account.password_hash:
            if time.time() - caller.proven_at > ground.settings.step_up_seconds:
                raise StepUpRequired("This account has no password yet: show another factor first.")
            return
        if password is None:
            raise Invalid.at("$.current_password", "the present password is needed")
        async with ground.database.transaction() as connection:
            guess = await self._guesses.count(connection, account.username, [account.id], origin)
        if await ground.passwords.match(password, [account.password_hash]) is None:
            raise WrongPassword("The present password is another one.")
        async with ground.database.transaction() as connection:
            await self._guesses.right(connection, guess)
