"""What a client may say, and what is answered. One instance serves all sessions; it keeps nothing of its own."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable

from realtime.hub import Hub
from realtime.protocol.codec import Malformed
from realtime.protocol.codes import CloseCode, ErrorCode
from realtime.protocol.messages import (
    Ack,
    Authenticate,
    Error,
    FromClient,
    Notice,
    Ping,
    Publish,
    Subscribe,
    Typing,
    Unsubscribe,
    User,
)
from realtime.rules import Authenticator, Identity, Refused
from realtime.session import Session

log = logging.getLogger(__name__)

_CROWDED_WAIT = 1.0  # seconds
_MOST_BAD = 10  # messages that make no sense before the connection is closed


class Dialogue:
    def __init__(
        self,
        hub: Hub,
        authenticator: Authenticator,
        *,
        subscriptions: int,
        patience: float = 8.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`patience`: a message that cannot be dealt with in so many seconds is answered with `unavailable`."""
        self._hub = hub
        self._authenticator = authenticator
        self._subscriptions = subscriptions
        self._patience = patience
        self._clock = clock

    async def answer(self, session: Session, body: bytes | str) -> None:
        """Deal with one message of the client. Never raises for what a client sent."""
        try:
            message = session.codec.decode(body)
        except Malformed as malformed:
            session.bad_messages += 1
            self._refuse(session, malformed.id, ErrorCode.BAD_MESSAGE, f"{ErrorCode.BAD_MESSAGE.sentence} {malformed}")
            if session.bad_messages >= _MOST_BAD:
                session.end(CloseCode.BAD_MESSAGES)
            await asyncio.sleep(0)  # many may be queued: others have their turn between them
            return
        if wait := session.wait(self._clock()):
            self._refuse(session, message.id, ErrorCode.RATE_LIMITED, ErrorCode.RATE_LIMITED.sentence, wait)
            await asyncio.sleep(0)
            return
        try:
            async with asyncio.timeout(self._patience):
                await self._deal_with(session, message)
        except Refused as refused:
            self._refuse(session, message.id, refused.code, refused.message, refused.retry_after)
        except TimeoutError:
            self._refuse(session, message.id, ErrorCode.UNAVAILABLE, ErrorCode.UNAVAILABLE.sentence)
        except Exception:
            log.exception("a message of type %s failed", type(message).__name__)
            self._refuse(session, message.id, ErrorCode.INTERNAL, ErrorCode.INTERNAL.sentence)

    async def sign_in(self, session: Session, token: str) -> bool:
        """Whether the token was good; the session speaks for its user from now on."""
        try:
            identity = await self._authenticator.authenticate(token)
        except Exception as error:
            self._log_if_ours(error)
            return False
        await self._become(session, identity, token)
        return True

    async def renew(self, session: Session) -> None:
        """Ask again whether the session's token is good. When it is not, the session goes on as a guest's and is
        told so.
        """
        if session.identity is None:
            return
        token = session.token
        try:
            identity = await self._authenticator.authenticate(token)
        except Exception as error:
            self._log_if_ours(error)
        else:
            if session.token == token:
                session.identity = identity  # the same user, who may be allowed something else by now
            return
        if session.token == token:
            await self._become(session, None, "")
            session.send(Notice(code=ErrorCode.TOKEN_EXPIRED, message=ErrorCode.TOKEN_EXPIRED.sentence))

    async def _deal_with(self, session: Session, message: FromClient) -> None:
        match message:
            case Subscribe(id=id, channel=channel, since=since, presence=presence):
                if channel not in session.channels and len(session.channels) >= self._subscriptions:
                    raise Refused(ErrorCode.TOO_MANY_SUBSCRIPTIONS, ErrorCode.TOO_MANY_SUBSCRIPTIONS.sentence)
                await self._hub.subscribe(session, id, channel, since, presence=presence)
            case Publish(id=id, channel=channel, data=data):
                rules = self._hub.rules_for(channel)
                if self._hub.crowded(channel):
                    raise Refused(ErrorCode.RATE_LIMITED, "More is said here than can be delivered.", _CROWDED_WAIT)
                await self.renew(session)
                published = await rules.publish(session.identity, channel, data)
                self._hub.wrote(session, channel)
                position = published.position
                session.send(Ack(id=id, epoch=position.epoch, offset=position.offset, data=published.data))
            case Typing(id=id, channel=channel, typing=typing):
                await self._hub.typing(session, channel, typing)
                session.send(Ack(id=id))
            case Unsubscribe(id=id, channel=channel):
                if not self._hub.unsubscribe(session, channel):
                    raise Refused(ErrorCode.NOT_SUBSCRIBED, ErrorCode.NOT_SUBSCRIBED.sentence)
                session.send(Ack(id=id))
            case Authenticate(id=id, token=token):
                if not await self.sign_in(session, token):
                    raise Refused(ErrorCode.UNAUTHENTICATED, ErrorCode.UNAUTHENTICATED.sentence)
                session.send(Ack(id=id, user=user_of(session.identity)))
            case Ping(id=id):
                session.send(Ack(id=id))

    async def _become(self, session: Session, identity: Identity | None, token: str) -> None:
        before = session.identity
        session.identity, session.token = identity, token
        if before is not None and (identity is None or identity.user_id != before.user_id):
            await self._hub.reauthorize(session)

    def _refuse(
        self, session: Session, id: int | None, code: str, message: str, retry_after: float | None = None
    ) -> None:
        if retry_after is not None:
            retry_after = math.ceil(retry_after * 1000) / 1000
        session.send(Error(id=id, code=code, message=message, retry_after=retry_after))

    def _log_if_ours(self, error: Exception) -> None:
        # the product's refusals carry an HTTP status below 500; anything else is a fault of ours
        status = getattr(error, "status", None)
        if not (isinstance(status, int) and status < 500) and not isinstance(error, Refused):
            log.error("a token could not be checked", exc_info=error)


def user_of(identity: Identity | None) -> User | None:
    return User(str(identity.user_id), identity.username) if identity is not None else None
