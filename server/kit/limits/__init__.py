"""Rate limits: how often somebody may do something, counted in this process or in Redis for a fleet.

A rate is so many at once, then one each interval (the generic cell rate algorithm, ITU-T I.371): no edges of windows at
which twice as much goes through, one number a key, the moment of the next one known exactly, and a refused request
costs nothing. `Limits` is what a process has; `Limiter` is one rate that is only of this process.
"""

from __future__ import annotations

from server.kit.limits.address import address_key
from server.kit.limits.memory import Limiter, Memory
from server.kit.limits.rate import Rate, Verdict
from server.kit.limits.service import Limits

__all__ = ["Limiter", "Limits", "Memory", "Rate", "Verdict", "address_key"]
