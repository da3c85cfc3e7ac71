"""Puts mails into the caller's transaction, as jobs. Implements server.kit.mail.Mailer; holds nothing between calls.

A mail carries links that let their reader in, so what lies in the table of jobs is sealed.
"""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

import msgspec

from server.integrations.mail.templates import Templates
from server.kit.ids import uuid7
from server.kit.secrets import BrokenSeal, Secrets
from storage.jobs import Jobs
from storage.postgres import Connection

MAIL_JOB = "mail.send"
_PURPOSE = "mail"
_ID = 16  # bytes


class Waiting(msgspec.Struct, frozen=True):
    """One mail as it waits. id: the same at every attempt."""

    id: UUID
    to: str
    template: str
    values: dict[str, object]


class Mails:
    def __init__(self, jobs: Jobs, secrets: Secrets, templates: Templates) -> None:
        self._jobs = jobs
        self._secrets = secrets
        self._templates = templates

    async def send(self, connection: Connection, to: str, template: str, values: Mapping[str, object]) -> None:
        """Have a mail sent once the caller's transaction commits; never, if it is rolled back.

        It is sent at least once: a process that dies between the server's "accepted" and the end of the job sends it
        again, with the same Message-ID. Whether the address can be written to shows only when it is tried.

        Raises ValueError for a template that is not there, or a value that it needs and does not get.
        """
        self._templates.check(template, values)
        mail = Waiting(uuid7(), to, template, dict(values))
        await self._jobs.enqueue(connection, MAIL_JOB, pack(self._secrets, mail))


def pack(secrets: Secrets, mail: Waiting) -> bytes:
    return mail.id.bytes + secrets.seal(_PURPOSE, msgspec.json.encode(mail), mail.id.bytes)


def unpack(secrets: Secrets, payload: bytes) -> Waiting:
    """Raises BrokenSeal, also for what no `pack` has made."""
    id, sealed = payload[:_ID], payload[_ID:]
    try:
        return msgspec.json.decode(secrets.open(_PURPOSE, sealed, id), type=Waiting)
    except msgspec.DecodeError as error:
        raise BrokenSeal("this mail was packed by another release") from error
