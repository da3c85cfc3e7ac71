"""Rights that are lost: who may no longer hold a channel is told so, and hears nothing more of it.

Features say when rights change (`Hub.revoke`, `Hub.recheck`), and the bus tells the other nodes. While the bus is gone,
or after it lost something, everybody's rights are asked again. Owns nothing but one round of such questions at a time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from realtime.channel import Channel
from realtime.crowds import Crowds
from realtime.protocol.codes import ErrorCode
from realtime.protocol.messages import Closed
from realtime.rules import Action, Identity, Refused
from realtime.session import Session

log = logging.getLogger(__name__)

_STEP = 100  # subscriptions that are closed in one turn of the loop


class Rights:
    def __init__(self, channels: Mapping[str, Channel], crowds: Crowds, clock: Callable[[], float]) -> None:
        """`channels`: the open ones, which change meanwhile."""
        self._channels = channels
        self._crowds = crowds
        self._clock = clock

    async def ask_everybody(self) -> bool:
        """Every right of every subscription, one question after another. False when some were not answered: an outage
        of the feature is no reason to send everybody away."""
        answered = True
        for channel in [channel for channel in self._channels.values() if channel.ready]:
            answered &= await self.ask_again(channel, channel.sessions(), doubted=False)
        return answered

    async def ask_again(self, channel: Channel, sessions: list[Session], *, doubted: bool = True) -> bool:
        """One question a person, however many connections. `doubted`: there is a reason to ask, so who cannot be asked
        about loses the subscription. Whether every question was answered.
        """
        asked: dict[str, Refused | None] = {}
        seeing: dict[str, Refused | None] = {}
        answered = True
        for at, session in enumerate(sessions):
            if at % _STEP == _STEP - 1:
                await asyncio.sleep(0)
            who = _key(session.identity)
            if who not in asked:
                asked[who] = await self._refusal(channel, session.identity, Action.SUBSCRIBE)
            refused = asked[who]
            if refused is None and self._crowds.watches(channel.name, session):
                if who not in seeing:
                    seeing[who] = await self._refusal(channel, session.identity, Action.PRESENCE)
                unseen = seeing[who]
                if unseen is not None and (doubted or unseen.code != ErrorCode.UNAVAILABLE):
                    self._crowds.close(channel.name, session, unseen.code, unseen.message)
            if refused is None or _key(session.identity) != who:  # who became somebody else was asked about then
                continue
            if refused.code == ErrorCode.UNAVAILABLE:
                answered = False
                if not doubted:
                    continue
            self.close(channel, session, refused.code, refused.message)
        return answered

    async def _refusal(self, channel: Channel, who: Identity | None, action: Action) -> Refused | None:
        try:
            await channel.rules.authorize(who, channel.name, action)
        except Refused as refused:
            return refused
        except Exception:
            log.exception("could not ask who may hold %s", channel.name)
            return Refused(ErrorCode.UNAVAILABLE, ErrorCode.UNAVAILABLE.sentence)
        return None

    def close(self, channel: Channel, session: Session, code: str, message: str) -> None:
        now = self._channels.get(channel.name)
        if now is not None and now is not channel and now.holds(session):  # came back after the channel began anew
            return
        if channel.remove(session):
            self._crowds.unwatch(channel.name, session)
            if not channel.holders():
                channel.idle_since = self._clock()
            session.send(Closed(channel=channel.name, code=code, message=message))

    def close_all(self, channel: Channel, sessions: list[Session], code: str, message: str) -> None:
        """A few at once; many in steps, so that others have their turn."""
        for session in sessions[:_STEP]:
            self.close(channel, session, code, message)
        if len(sessions) > _STEP:
            asyncio.get_running_loop().call_soon(self.close_all, channel, sessions[_STEP:], code, message)


def _key(who: Identity | None) -> str:
    """People by id; programs with an API key by what they may, too."""
    return "" if who is None else f"{who.user_id} {getattr(who, 'scopes', None)}"
