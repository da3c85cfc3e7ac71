"""Settings of whole server processes, as the tests of streaming have them."""

from __future__ import annotations

from tests.server.streaming.conftest import environment

__all__ = ["environment"]
