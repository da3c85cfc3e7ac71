"""Decides what a profile may say, who sees it, and what its owner prefers. Owns nothing between calls."""

from __future__ import annotations

import asyncio
import zoneinfo
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

import msgspec
from msgspec import UNSET

from server.identity import store as accounts
from server.identity.errors import UsernameTaken
from server.identity.models import Account
from server.identity.names import check_username
from server.identity.profile import store, text
from server.identity.profile.errors import NoSuchPerson, UsernameLately
from server.identity.profile.models import (
    Avatar,
    Details,
    Link,
    Me,
    Preferences,
    PreferencesView,
    Privacy,
    PrivacyView,
    ProfileBody,
    PublicProfile,
    avatar_of,
    me_of,
)
from server.kit.audit import Audit
from server.kit.auth import Caller, Origin
from server.kit.clock import now
from server.kit.http.ifmatch import ANY, IfMatch
from server.kit.problems import Invalid, NotFound
from server.settings import Settings
from storage.postgres import Connection, Database

SEES_PRIVATE = "users.read"
"""The permission of those who see profiles whatever their owners' choice."""


class Counts(Protocol):
    @property
    def followers(self) -> int: ...
    @property
    def following(self) -> int: ...


class Followers(Protocol):
    """Who follows whom: asked of the feature that keeps it."""

    async def follows(self, follower_id: UUID, user_id: UUID, /) -> datetime | None: ...

    async def counts(self, user_id: UUID, /) -> Counts: ...


class Profiles:
    """The facade of profiles."""

    def __init__(self, database: Database, settings: Settings, *, audit: Audit, followers: Followers) -> None:
        self._database = database
        self._base_url = settings.public_url.rstrip("/")
        self._cool_down = timedelta(days=settings.username_change_days)
        self._held = timedelta(days=settings.username_reserved_days)
        self._audit = audit
        self._followers = followers
        self._zones: frozenset[str] = frozenset()

    # its owner

    async def me(self, user_id: UUID) -> Me:
        """Raises NotFound."""
        async with self._database.acquire() as connection:
            return await self._me(connection, user_id)

    async def edit(self, user_id: UUID, body: ProfileBody, if_match: IfMatch = ANY, origin: Origin | None = None) -> Me:
        """Raises Invalid, NotFound, PreconditionFailed."""
        async with self._database.transaction() as connection:
            account, details = await self._locked(connection, user_id)
            if_match.check(details.version)
            display_name = account.display_name
            if body.display_name is not UNSET:
                display_name = text.line(body.display_name) or account.username
            edited = msgspec.structs.replace(details, **_changes(body))
            changed = [name for name in ("bio", "website", "location", "links") if _differ(details, edited, name)]
            if display_name != account.display_name:
                changed.append("display_name")
            if changed:
                await store.edit(connection, user_id, edited, display_name)
                await self._audit.record(connection, user_id, "profile.changed", origin, fields=sorted(changed))
            return await self._me(connection, user_id)

    async def rename(self, user_id: UUID, username: str, if_match: IfMatch = ANY, origin: Origin | None = None) -> Me:
        """Raises Invalid, UsernameTaken, UsernameLately, NotFound, PreconditionFailed.

        The old name stays this account's for a while: nobody else gets it, and its owner may go back to it. Capitals
        may be changed at any time.
        """
        name = check_username(username)
        at = now()
        async with self._database.transaction() as connection:
            account, details = await self._locked(connection, user_id)
            if_match.check(details.version)
            if name == account.username:
                return await self._me(connection, user_id)
            other = name.lower() != account.username.lower()
            changed_at = details.username_changed_at
            if other and changed_at is not None and at < changed_at + self._cool_down:
                raise UsernameLately(
                    "The username was changed not long ago; wait until it may be changed again.",
                    retry_at=(changed_at + self._cool_down).isoformat(timespec="seconds"),
                )
            if not await store.rename(connection, user_id, name, at if other else changed_at):
                raise UsernameTaken(f"The username {name} is taken; choose another.")
            if other:
                await store.hold_username(connection, account.username, user_id, at + self._held)
            if account.display_name == account.username:
                await store.edit(connection, user_id, details, name)
            await accounts.account_changed(connection, user_id)
            await self._audit.record(connection, user_id, "profile.changed", origin, fields=["username"])
            return await self._me(connection, user_id)

    async def preferences(self, user_id: UUID) -> PreferencesView:
        async with self._database.acquire() as connection:
            details = await store.details(connection, user_id)
        return _preferences(details)

    async def set_preferences(self, user_id: UUID, body: Preferences, if_match: IfMatch = ANY) -> PreferencesView:
        """Raises Invalid, NotFound, PreconditionFailed."""
        if not self._zones:
            self._zones = frozenset(await asyncio.to_thread(zoneinfo.available_timezones))  # reads files
        if body.time_zone not in self._zones:
            raise Invalid.at("$.time_zone", "there is no such time zone; it takes names such as Europe/Berlin")
        async with self._database.transaction() as connection:
            _, details = await self._locked(connection, user_id)
            if_match.check(details.preferences_version)
            if body != details.preferences:
                await store.set_preferences(connection, user_id, body)
            return _preferences(await store.details(connection, user_id))

    async def privacy(self, user_id: UUID) -> PrivacyView:
        async with self._database.acquire() as connection:
            details = await store.details(connection, user_id)
        return _privacy(details)

    async def set_privacy(
        self, user_id: UUID, body: Privacy, if_match: IfMatch = ANY, origin: Origin | None = None
    ) -> PrivacyView:
        """Raises NotFound, PreconditionFailed."""
        async with self._database.transaction() as connection:
            _, details = await self._locked(connection, user_id)
            if_match.check(details.privacy_version)
            if body != details.privacy:
                await store.set_privacy(connection, user_id, body)
                await accounts.account_changed(connection, user_id)  # whoever names him hears of it
                await self._audit.record(connection, user_id, "profile.changed", origin, fields=["privacy"])
            return _privacy(await store.details(connection, user_id))

    # others

    async def public(self, username: str, caller: Caller | None) -> PublicProfile:
        """What this caller may see of somebody. Raises NoSuchPerson, also for an account that is disabled."""
        async with self._database.acquire() as connection:
            account = await accounts.by_username(connection, username)
            if account is None or account.disabled_at is not None:
                raise NoSuchPerson("Nobody has this username.")
            details = await store.details(connection, account.id)
        everything = await self._may_see(caller, account.id, details.privacy)
        counts = await self._followers.counts(account.id)
        card = PublicProfile(
            id=account.id,
            username=account.username,
            display_name=account.display_name,
            avatar=self.avatar(details),
            limited=not everything,
            followers=counts.followers,
            following=counts.following,
        )
        if not everything:
            return card
        return msgspec.structs.replace(
            card,
            bio=details.bio,
            website=details.website,
            location=details.location,
            links=details.links,
            created_at=account.created_at,
        )

    async def shows(self, user_id: UUID, caller: Caller | None) -> bool:
        """Whether this caller may see more of somebody than his name and picture."""
        return await self._may_see(caller, user_id, (await self.privacy_of([user_id]))[user_id])

    async def takes_followers(self, user_id: UUID) -> bool:
        """A private profile takes no new ones."""
        return (await self.privacy_of([user_id]))[user_id].profile != "private"

    async def privacy_of(self, ids: Collection[UUID]) -> dict[UUID, Privacy]:
        """For features that list people, show who is online, or let them write to each other: all ids are in it."""
        found = await self._details_of(ids)
        return {id: found[id].privacy if id in found else Privacy() for id in ids}

    async def preferences_of(self, ids: Collection[UUID]) -> dict[UUID, Preferences]:
        """For what is sent to people: their language, time zone, and which mails they take. All ids are in it."""
        found = await self._details_of(ids)
        return {id: found[id].preferences if id in found else Preferences() for id in ids}

    async def avatars_of(self, ids: Collection[UUID]) -> dict[UUID, Avatar]:
        """Of those that have one."""
        found = await self._details_of(ids)
        return {id: avatar for id, details in found.items() if (avatar := self.avatar(details)) is not None}

    def avatar(self, details: Details) -> Avatar | None:
        return avatar_of(details.avatar, self._base_url)

    async def release_usernames(self) -> None:
        """Forget names whose time is over."""
        async with self._database.transaction() as connection:
            await store.release_usernames(connection, now())

    async def _may_see(self, caller: Caller | None, user_id: UUID, privacy: Privacy) -> bool:
        if privacy.profile == "public":
            return True
        if caller is None:
            return False
        if caller.user_id == user_id or SEES_PRIVATE in caller.permissions:
            return True
        if privacy.profile != "followers":
            return False
        return await self._followers.follows(caller.user_id, user_id) is not None

    async def _details_of(self, ids: Collection[UUID]) -> dict[UUID, Details]:
        if not ids:
            return {}
        async with self._database.acquire() as connection:
            return await store.many(connection, ids)

    async def _locked(self, connection: Connection, user_id: UUID) -> tuple[Account, Details]:
        account = await accounts.by_id(connection, user_id)
        if account is None:
            raise NotFound("This account is gone.")
        return account, await store.lock(connection, user_id)

    async def _me(self, connection: Connection, user_id: UUID) -> Me:
        account = await accounts.by_id(connection, user_id)
        if account is None:
            raise NotFound("This account is gone.")
        return me_of(account, await store.details(connection, user_id), self._base_url, self._cool_down)


def _changes(body: ProfileBody) -> dict[str, object]:
    changes: dict[str, object] = {}
    if body.bio is not UNSET:
        changes["bio"] = text.paragraphs(body.bio)
    if body.website is not UNSET:
        changes["website"] = text.address(body.website, "$.website")
    if body.location is not UNSET:
        changes["location"] = text.line(body.location)
    if body.links is not UNSET:
        changes["links"] = [_link(link, number) for number, link in enumerate(body.links)]
    return changes


def _link(link: Link, number: int) -> Link:
    label = text.line(link.label)
    url = text.address(link.url, f"$.links[{number}].url")
    if not label:
        raise Invalid.at(f"$.links[{number}].label", "a link has a label")
    if not url:
        raise Invalid.at(f"$.links[{number}].url", "a link has an address")
    return Link(label=label, url=url)


def _differ(old: Details, new: Details, name: str) -> bool:
    return bool(getattr(old, name) != getattr(new, name))


def _preferences(details: Details) -> PreferencesView:
    given = details.preferences
    return PreferencesView(**msgspec.structs.asdict(given), version=details.preferences_version)


def _privacy(details: Details) -> PrivacyView:
    return PrivacyView(**msgspec.structs.asdict(details.privacy), version=details.privacy_version)
