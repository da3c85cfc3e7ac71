"""What features ask of whoever sends mail."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Protocol

from storage.postgres import Connection


class Mailer(Protocol):
    async def send(self, connection: Connection, to: str, template: str, values: Mapping[str, object]) -> None:
        """Have a mail sent once the caller's transaction commits; never, if it is rolled back.

        to: one address. template: its name, as `verify_email`. values: what the template shows; JSON can carry them.
        """
        ...


class NoMail:
    """Where nobody sends mail, as in a command: what would have been sent is told to the log, without its links."""

    async def send(self, connection: Connection, to: str, template: str, values: Mapping[str, object]) -> None:
        logging.getLogger(__name__).info("no mail is sent from here: %s", template)
