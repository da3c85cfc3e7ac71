"""Whole server processes, their settings and their users, as the tests of streaming have them."""

from __future__ import annotations

from tests.server.streaming.conftest import environment, http, new_user, server, streamer

__all__ = ["environment", "http", "new_user", "server", "streamer"]
