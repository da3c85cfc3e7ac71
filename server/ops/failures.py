"""Failures that nobody foresaw, sent to Sentry: what a log line with a traceback says, without what is anybody's own.

Failures owns the client, its thread and a handler of the root logger from `start` to `close`. An event has the
exception's class, its text with everything value-like taken out, the places in the code (no local variables, no
source), the logger, the route's template and the request id, by which the log tells the rest.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from typing import Any

from sentry_sdk import Client
from sentry_sdk.utils import event_from_exception

from server.kit.logs import request_id

_PER_MINUTE = 60
_CLOSE_SECONDS = 2.0
_OWN = ("sentry_sdk", "opentelemetry", "urllib3")
"""Those who send: a failure of theirs would be sent by themselves, over and over."""
_VALUES = re.compile(
    r"""=\(.*?\)            # PostgreSQL: Key (email)=(…)
    |'[^']*'|"[^"]*"|“[^”]*”|`[^`]*`
    |\S+@\S+                # addresses of mail
    |\w+://\S+              # of the web, with what they carry
    |\b\d{1,3}(?:\.\d{1,3}){3}\b|(?<![\w:])(?:[0-9a-fA-F]{0,4}:){2,}[0-9a-fA-F]*
    |[\w.+/=-]{16,}         # keys, tokens, ids
    |\d{4,}
    """,
    re.VERBOSE,
)


class Failures(logging.Handler):
    def __init__(self, dsn: str, *, environment: str, node: str, release: str = "") -> None:
        super().__init__(logging.ERROR)
        self._options: dict[str, Any] = {
            "dsn": dsn,
            "environment": environment,
            "server_name": node,
            "release": release or None,
            "default_integrations": False,
            "auto_enabling_integrations": False,
            "auto_session_tracking": False,
            "send_client_reports": False,
            "include_local_variables": False,
            "include_source_context": False,
            "max_request_body_size": "never",
            "max_breadcrumbs": 0,
        }
        self._client: Any = None
        self._minute = 0.0
        self._in_minute = 0
        self.sent = 0
        self.dropped = 0

    def start(self) -> None:
        """Raises sentry_sdk.utils.BadDsn."""
        self._client = Client(**self._options)
        logging.getLogger().addHandler(self)

    async def stop(self) -> None:
        """Send what waits, for a few seconds at most."""
        logging.getLogger().removeHandler(self)
        client, self._client = self._client, None
        if client is not None:
            await asyncio.to_thread(client.close, _CLOSE_SECONDS)

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if error is None or self._client is None or record.name.startswith(_OWN):
            return
        if not self._has_room():
            self.dropped += 1
            return
        try:
            self._client.capture_event(self._event(record, error))
            self.sent += 1
        except Exception:  # who logs a failure must not fail by that
            self.dropped += 1

    def describe(self) -> dict[str, object]:
        return {"sent": self.sent, "dropped": self.dropped}

    def _event(self, record: logging.LogRecord, error: BaseException) -> dict[str, Any]:
        made, _ = event_from_exception(error, client_options=self._client.options)
        for one in made["exception"]["values"]:
            one["value"] = scrubbed(str(one.get("value") or ""))
            for frame in one.get("stacktrace", {}).get("frames", ()):
                frame.pop("vars", None)
                frame.pop("abs_path", None)
        fields = getattr(record, "fields", {})
        tags = {name: fields[name] for name in ("method", "route") if name in fields}
        if identifier := request_id.get():
            tags["request_id"] = scrubbed_id(identifier)
        return {"level": "error", "logger": record.name, "exception": made["exception"], "tags": tags}

    def _has_room(self) -> bool:
        now = time.monotonic()
        if now - self._minute > 60:
            self._minute, self._in_minute = now, 0
        self._in_minute += 1
        return self._in_minute <= _PER_MINUTE


def scrubbed(text: str) -> str:
    """The text without what could be a value: quoted, numbers, ids, addresses, secrets."""
    return _VALUES.sub("…", text.replace("\n", " "))[:500]


def scrubbed_id(identifier: str) -> str:
    """A request id may be the client's own text: only what cannot be an address of mail is passed on."""
    return identifier if "@" not in identifier else "…"
