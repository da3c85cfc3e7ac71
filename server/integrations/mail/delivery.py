"""The job that delivers one mail: opens what was sealed, renders, hands over. Owns the counters of this process.

A mail is delivered at least once. One that the server refuses for good, or that could not be delivered in MAIL_ATTEMPTS
attempts, is a failed job: a line in the log, a row of `pgqueuer` with status `failed` and its reason in `pgqueuer_log`.
Such rows stay for FAILED_DAYS, as they hold an address.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from email.message import EmailMessage

from server.integrations.mail.message import BadAddress, Sender, compose
from server.integrations.mail.queue import MAIL_JOB, Waiting, unpack
from server.integrations.mail.smtp import Outlet, Refused
from server.integrations.mail.templates import Templates
from server.kit.secrets import BrokenSeal, Secrets
from storage.jobs import Hopeless, Worker
from storage.postgres import Database

_log = logging.getLogger(__name__)

FORGET_JOB = "mail.forget_failed"
FORGET_CRON = "23 4 * * *"
FAILED_DAYS = 14
AT_ONCE = 5
"""Mails under way over all workers: a slow server must not take the place of other jobs."""
FIRST_PAUSE = timedelta(seconds=5)


class Delivery:
    """attempts: how often a mail is tried at most, first after 5 s, then after twice as long each time, at most
    10 min. seconds: longest one attempt may take."""

    def __init__(
        self,
        database: Database,
        secrets: Secrets,
        templates: Templates,
        outlet: Outlet,
        sender: Sender,
        *,
        attempts: int,
        seconds: float,
    ) -> None:
        self._database = database
        self._secrets = secrets
        self._templates = templates
        self._outlet = outlet
        self._sender = sender
        self._attempts = attempts
        self._seconds = seconds
        self._sent = 0
        self._refused = 0
        self._put_off = 0
        self._last_error = ""

    def register(self, worker: Worker, *, pause: timedelta = FIRST_PAUSE) -> None:
        worker.register(
            MAIL_JOB,
            self.deliver,
            retries=max(self._attempts - 1, 0),
            pause=pause,
            seconds=self._seconds,
            at_once=AT_ONCE,
        )
        worker.register(FORGET_JOB, self.forget_failed)
        worker.every(FORGET_JOB, FORGET_CRON)

    def describe(self) -> dict[str, object]:
        """sent, refused (for good), put_off (failed attempts): since the start of this process."""
        return {
            **self._outlet.describe(),
            "sent": self._sent,
            "refused": self._refused,
            "put_off": self._put_off,
            "last_error": self._last_error,
        }

    async def deliver(self, payload: bytes) -> None:
        """Raises Hopeless when another attempt cannot help."""
        try:
            mail = unpack(self._secrets, payload)
        except BrokenSeal as error:
            raise Hopeless(f"a mail cannot be opened: {error}") from None
        try:
            await self._outlet.deliver(await asyncio.to_thread(self._write, mail))
        except (BadAddress, Refused, ValueError) as error:
            self._refused += 1
            raise Hopeless(self._failure(mail, error)) from None
        except Exception as error:
            self._put_off += 1
            self._failure(mail, error)
            raise
        self._sent += 1

    def _write(self, mail: Waiting) -> EmailMessage:
        words = self._templates.render(mail.template, mail.values)
        return compose(mail.id, self._sender, mail.to, words)

    async def forget_failed(self, payload: bytes) -> None:
        """Delete the rows of mails that failed long ago."""
        async with self._database.transaction() as connection:
            await connection.execute(
                "delete from pgqueuer where entrypoint = $1 and status = 'failed' and updated < now() - $2::interval",
                MAIL_JOB,
                timedelta(days=FAILED_DAYS),
            )

    def _failure(self, mail: Waiting, error: Exception) -> str:
        self._last_error = f"{mail.template}: {error or type(error).__name__}"
        return f"mail {mail.id} ({mail.template}): {error or type(error).__name__}"
