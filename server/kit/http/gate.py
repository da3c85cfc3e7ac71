"""The rate limit in front of one declared route."""

from __future__ import annotations

from server.kit.auth import FREE
from server.kit.http.call import Call
from server.kit.http.classes import ANONYMOUS, RouteClass
from server.kit.limits import Limits, address_key
from server.kit.problems import TooManyRequests

POLICY_HEADER = "RateLimit-Policy"
LIMIT_HEADER = "RateLimit"


class Gate:
    """Counts a caller for himself, wherever he calls from and with whatever key or session; who has shown no token is
    counted by his address. All routes of a class count together.
    """

    def __init__(self, kind: RouteClass, limits: Limits) -> None:
        self._name = kind.name
        self._by_tier = kind.allowances
        self._anonymous = kind.allowances[ANONYMOUS]
        self._free = kind.allowances[FREE]
        self._limits = limits
        self.open = not any(kind.allowances.values())

    async def enter(self, call: Call) -> None:
        """Sets RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers-11) on whatever the answer becomes.
        Raises TooManyRequests."""
        caller = call.caller
        if caller is None:
            allowance = self._anonymous
            key = f"{self._name}:@{address_key(call.address)}"
        else:
            allowance = self._by_tier.get(caller.tier, self._free)
            key = f"{self._name}:{caller.user_id.hex}"
        if allowance is None:
            return
        verdict = await self._limits.take(key, allowance.rate)
        seconds = -int(-verdict.reset // 1)
        call.headers[POLICY_HEADER] = allowance.policy
        if verdict.allowed:
            call.headers[LIMIT_HEADER] = f'"{self._name}";r={verdict.remaining};t={seconds}'
            return
        # the same moment as Retry-After
        call.headers[LIMIT_HEADER] = f'"{self._name}";r=0;t={max(seconds, 1)}'
        who = "your address" if caller is None else "your account"
        raise TooManyRequests(
            f"There are too many requests of the class {self._name} from {who}; wait a moment.",
            retry_after=verdict.retry_after,
        )
