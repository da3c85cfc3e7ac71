"""Signing in with an account elsewhere, and linking such accounts to one here.

Which account here an account elsewhere opens:
- the one that it is linked to, by the provider's own lasting id: no address and no name decides;
- a new one, when it is linked to none. Its address counts as verified when the provider has verified it;
- never one that is there already because of an address. If somebody here has verified the address that the provider
  vouches for, the answer is `link_needed`: he signs in by his own means and links. Whoever could link by address would
  let every provider, and whoever holds an old address there, into the account. Who merely claims the address here
  loses that claim, as whenever somebody verifies it.
An account's second factor is asked for as after a password. Holds nothing but the way to its parts.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from urllib.parse import quote
from uuid import UUID

import asyncpg
import msgspec

from server.identity import store as accounts
from server.identity.errors import EmailTaken, RegistrationClosed, SecondFactorRequired, UsernameTaken
from server.identity.factors.errors import LastWayIn
from server.identity.factors.store import held
from server.identity.models import Account
from server.identity.names import check_email, email_key
from server.identity.oauth import store
from server.identity.oauth.arrival import Arrival, Arrivals
from server.identity.oauth.errors import (
    AccountDisabled,
    BadSignInCode,
    LinkedElsewhere,
    LinkNeeded,
    ProviderUnavailable,
    UnknownProvider,
)
from server.identity.oauth.flow import Flow, Flows, begin
from server.identity.oauth.models import OneTimeCodeBody, SignedInElsewhere, SignInLink, SignInStartBody
from server.identity.oauth.redirects import Redirects, landing
from server.identity.oauth.usernames import usernames
from server.identity.privacy.errors import AccountLeaving
from server.identity.service import Identity
from server.integrations.signin.provider import Provider, ProviderAway, ProviderError, Stranger
from server.kit.audit import Audit
from server.kit.auth import Caller, Origin
from server.kit.clock import now
from server.kit.ids import uuid7
from server.kit.mail import Mailer
from server.kit.problems import Invalid, NotFound, Problem
from server.kit.secrets import Secrets
from server.settings import Settings
from storage.postgres import Connection, Database

_log = logging.getLogger(__name__)

_RACES = 3
_CODE_LIMIT = 4096


class Oauth:
    def __init__(
        self,
        identity: Identity,
        providers: Mapping[str, Provider],
        *,
        database: Database,
        settings: Settings,
        secrets: Secrets,
        mailer: Mailer,
        audit: Audit,
    ) -> None:
        """Raises SettingError for OAUTH_APP_REDIRECTS that cannot be."""
        self.providers = providers
        self.flows = Flows(secrets, secure=settings.base_url.startswith("https://"))
        self._identity = identity
        self._database = database
        self._settings = settings
        self._mailer = mailer
        self._audit = audit
        self._arrivals = Arrivals(database, secrets)
        self._redirects = Redirects(settings.oauth_app_redirects)

    # there and back

    async def start(self, key: str, body: SignInStartBody, link_to: UUID | None = None) -> tuple[str, Flow | None]:
        """Where to send the browser, and the attempt that it keeps in a cookie; None: it will get that on its way.

        Raises UnknownProvider, Invalid, ProviderUnavailable.
        """
        provider = self._provider(key)
        self._redirects.check(body.redirect, body.code_challenge)
        flow = begin(key, body.redirect, body.code_challenge, link_to)
        if body.code_challenge is not None:
            return f"{self._settings.base_url}{self._path(key, 'begin')}?ticket={self.flows.ticket(flow)}", None
        try:
            return await provider.address(flow.attempt(self._callback(key))), flow
        except ProviderError as error:
            _log.warning("signing in with %s cannot begin: %s", key, error)
            raise ProviderUnavailable(f"{provider.title} cannot be reached right now.") from None

    async def begin(self, key: str, ticket: str) -> tuple[str, Flow | None]:
        """An app's browser sets out: where to, and the attempt for its cookie."""
        flow = self.flows.open_ticket(ticket, key)
        provider = self.providers.get(key)
        if flow is None or provider is None:
            return landing(None, app=False, error="expired"), None
        try:
            return await provider.address(flow.attempt(self._callback(key))), flow
        except ProviderError as error:
            _log.warning("signing in with %s cannot begin: %s", key, error)
            return landing(flow.redirect, app=True, error="unavailable", provider=key), None

    async def callback(self, key: str, said: Mapping[str, list[str]], cookies: Mapping[str, str]) -> str:
        """The browser is back: where it goes now, with a code or an error.

        said: the query, every value of each name. Errors: `expired`: not begun in this browser, too long ago, or back
        before; `denied`: the person said no; `unavailable`: try again; `failed`: the answer must not be believed.
        """
        state, provider = _single(said, "state"), self.providers.get(key)
        flow = self.flows.open(cookies, state, key) if state else None
        if flow is None or provider is None or not await self._arrivals.claim(state):
            return landing(None, app=False, error="expired")
        app = flow.challenge is not None

        def failed(error: str) -> str:
            return landing(flow.redirect, app=app, error=error, provider=key)

        code = _single(said, "code")
        if "error" in said or not code:
            denied = _single(said, "error") in {"access_denied", "user_cancelled_login", "consent_required"}
            if not denied:
                _log.warning("%s sent a browser back with the error %.100r", key, _single(said, "error"))
            return failed("denied" if denied else "failed")
        try:
            issuer = _single(said, "iss") if "iss" in said else None
            stranger = await provider.identify(flow.attempt(self._callback(key)), code, issuer)
        except ProviderAway as error:
            _log.warning("signing in with %s: %s", key, error)
            return failed("unavailable")
        except ProviderError as error:
            _log.warning("signing in with %s was refused: %s", key, error)
            return failed("failed")
        cookie = cookies[self.flows.cookie_name(flow.state)]
        ours = await self._arrivals.keep(flow, cookie, provider.authority, stranger)
        if flow.link_to is not None:
            return landing(flow.redirect, app=app, link=ours, provider=key)
        return landing(flow.redirect, app=app, code=ours, provider=key)

    # signing in

    async def sign_in(self, body: OneTimeCodeBody, cookies: Mapping[str, str], origin: Origin) -> SignedInElsewhere:
        """Raises BadSignInCode, LinkNeeded, RegistrationClosed, AccountDisabled, SecondFactorRequired."""
        arrival = await self._arrivals.fetch(body, self.flows.browsers(cookies))
        if arrival.link_to is not None or arrival.provider not in self.providers:
            raise BadSignInCode("This code links an account; it does not sign in.")
        for _ in range(_RACES):
            try:
                async with self._database.transaction() as connection:
                    try:
                        return await self._enter(connection, arrival, origin)
                    except (SecondFactorRequired, AccountLeaving) as needed:
                        missing: Problem = needed  # that the link was used stays
                raise missing
            except asyncpg.UniqueViolationError:  # the same person, twice at once: the other one has made the account
                continue
            except LinkNeeded:
                if not await self._known(arrival):  # else as above: the address is taken by himself
                    raise
        raise BadSignInCode("This account is being signed in to elsewhere; begin again.")

    async def _known(self, arrival: Arrival) -> bool:
        async with self._database.acquire() as connection:
            return await store.find(connection, arrival.authority, arrival.stranger.subject) is not None

    async def _enter(self, connection: Connection, arrival: Arrival, origin: Origin) -> SignedInElsewhere:
        link = await store.find(connection, arrival.authority, arrival.stranger.subject)
        if link is None:
            account = await self._create(connection, arrival, origin)
        else:
            known = await accounts.by_id(connection, link.user_id)
            if known is None or known.shut_out:
                raise AccountDisabled("This account cannot sign in.")
            account = known
            await store.used(connection, link.id, now())
        methods = [f"oidc:{arrival.provider}"]
        signed_in = await self._identity.complete_sign_in(connection, account, origin, methods=methods)
        return SignedInElsewhere(**msgspec.structs.asdict(signed_in), redirect=arrival.redirect, created=link is None)

    async def _create(self, connection: Connection, arrival: Arrival, origin: Origin) -> Account:
        stranger = arrival.stranger
        email = _email(stranger)
        verified = bool(email) and stranger.email_verified
        title = self._title(arrival.provider)
        link_needed = LinkNeeded(
            f"An account with the address {email} exists. Sign in to it, then link {title}.",
            provider=arrival.provider,
        )
        if self._settings.registration == "closed":
            owners = await accounts.by_email(connection, email_key(email)) if verified else []
            if owners and owners[0].email_verified_at is not None:
                raise link_needed
            raise RegistrationClosed("Registration is closed on this server. Ask its administrator for an account.")
        for username in usernames(stranger):
            try:
                account = await self._identity.add_account(
                    connection,
                    username,
                    email,
                    verified=verified,
                    display_name=_plain(stranger.name),
                )
                break
            except UsernameTaken:
                continue
            except EmailTaken:
                raise link_needed from None
        else:
            raise UsernameTaken("No username could be found; register with one of your choice, then link.")
        await self._insert(connection, account, arrival)
        await self._audit.record(connection, account.id, "account.registered", origin, provider=arrival.provider)
        return account

    # links

    async def links(self, user_id: UUID) -> list[SignInLink]:
        async with self._database.acquire() as connection:
            return [self._shown(row) for row in await store.of_account(connection, user_id)]

    async def link(
        self, body: OneTimeCodeBody, cookies: Mapping[str, str], caller: Caller, origin: Origin
    ) -> SignInLink:
        """Raises BadSignInCode, LinkedElsewhere."""
        arrival = await self._arrivals.fetch(body, self.flows.browsers(cookies))
        if arrival.link_to != caller.user_id or arrival.provider not in self.providers:
            raise BadSignInCode("This code links nothing to your account.")
        elsewhere = LinkedElsewhere(
            "That account is linked to another one here, or yours to another there; unlink it first."
        )
        try:
            async with self._database.transaction() as connection:
                if await store.lock_account(connection, caller.user_id) is None:
                    raise NotFound("This account is gone.")
                known = await store.find(connection, arrival.authority, arrival.stranger.subject)
                if known is not None:
                    if known.user_id != caller.user_id:
                        raise elsewhere
                    return self._shown(known)
                account = await accounts.by_id(connection, caller.user_id)
                assert account is not None
                row = await self._insert(connection, account, arrival)
                await self._audit.record(
                    connection, account.id, "signin.linked", origin, provider=row.provider, name=row.name
                )
                await self._tell(connection, account, self._title(row.provider))
                return self._shown(row)
        except asyncpg.UniqueViolationError:
            raise elsewhere from None

    async def unlink(self, key: str, caller: Caller, origin: Origin) -> None:
        """Also ends the sessions that the link has opened, but the caller's own. Raises NotFound, LastWayIn."""
        async with self._database.transaction() as connection:
            password_hash = await store.lock_account(connection, caller.user_id)
            rows = await store.of_account(connection, caller.user_id)
            row = next((row for row in rows if row.provider == key), None)
            if row is None or password_hash is None:
                raise NotFound("Your account has no such link.")
            ways = len(self.working(other for other in rows if other is not row))
            if not password_hash and ways == 0 and (await held(connection, caller.user_id)).passkeys == 0:
                raise LastWayIn("It is the only way into your account: set a password or add a passkey first.")
            await store.delete(connection, row.id)
            await self._audit.record(connection, caller.user_id, "signin.unlinked", origin, provider=key, name=row.name)
            opened = await store.sessions_by(connection, caller.user_id, f"oidc:{key}", caller.session_id)
            await self._identity.revoke(connection, opened, f"{key} was unlinked")

    async def opens(self, connection: Connection, user_id: UUID) -> bool:
        """Whether some provider can open this account right now."""
        return bool(self.working(await store.of_account(connection, user_id)))

    def working(self, rows: Iterable[store.LinkRow]) -> list[store.LinkRow]:
        """Those whose provider is still configured, and is still the same."""
        authorities = {provider.authority for provider in self.providers.values()}
        return [row for row in rows if row.authority in authorities]

    async def _insert(self, connection: Connection, account: Account, arrival: Arrival) -> store.LinkRow:
        stranger, at = arrival.stranger, now()
        row = store.LinkRow(
            id=uuid7(),
            user_id=account.id,
            provider=arrival.provider,
            authority=arrival.authority,
            subject=stranger.subject,
            name=_plain(stranger.username or stranger.name or stranger.email),
            email=_email(stranger),
            created_at=at,
            last_used_at=at,
        )
        await store.insert(connection, row)
        return row

    async def _tell(self, connection: Connection, account: Account, title: str) -> None:
        if account.email_verified_at is not None:
            when = now().isoformat(timespec="seconds")
            values = {"username": account.username, "provider": title, "when": when}
            await self._mailer.send(connection, account.email, "sign_in_linked", values)

    # small things

    def _provider(self, key: str) -> Provider:
        provider = self.providers.get(key)
        if provider is None:
            raise UnknownProvider(f"Signing in with {key[:50]!r} is not switched on here.")
        return provider

    def _callback(self, key: str) -> str:
        """What is registered at the provider; each has its own, so that answers are not mixed up (RFC 9700, 4.4.2)."""
        return self._settings.base_url + self._path(key, "callback")

    def _path(self, key: str, step: str) -> str:
        return f"/api/v1/auth/oauth/{quote(key)}/{step}"

    def _title(self, key: str) -> str:
        provider = self.providers.get(key)
        return key if provider is None else provider.title

    def _shown(self, row: store.LinkRow) -> SignInLink:
        return SignInLink(
            provider=row.provider,
            title=self._title(row.provider),
            name=row.name,
            email=row.email,
            created_at=row.created_at,
            last_used_at=row.last_used_at,
        )


def _single(said: Mapping[str, list[str]], name: str) -> str:
    """A parameter that must not stand twice (RFC 6749, section 3.1); empty when it does, or is too long."""
    values = said.get(name, [])
    return values[0] if len(values) == 1 and len(values[0]) <= _CODE_LIMIT else ""


def _email(stranger: Stranger) -> str:
    """The address; empty when there is none that could be used."""
    try:
        return check_email(_plain(stranger.email, 300))[0]
    except Invalid:
        return ""


def _plain(text: str, most: int = 100) -> str:
    """A text from elsewhere as PostgreSQL and a page can take it."""
    return "".join(each for each in text if each.isprintable())[:most].strip()
