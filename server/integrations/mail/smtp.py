"""Where mail goes: an SMTP server (RFC 5321), or the log when none is set. Holds no connection between mails."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Literal, Protocol

import aiosmtplib
from aiosmtplib import SMTP

Tls = Literal["none", "starttls", "tls"]

_log = logging.getLogger(__name__)


class Later(Exception):
    """Not delivered this time; trying again may help. The text is for the operator and names no recipient."""


class Refused(Exception):
    """The server will never take this mail, or its recipient."""


class Outlet(Protocol):
    async def deliver(self, message: EmailMessage) -> None:
        """Hand over one mail. Raises Later, Refused."""
        ...

    def describe(self) -> dict[str, object]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class MailServer:
    """tls: `starttls` refuses a server that does not offer it; `tls` is TLS from the first byte. ca: a file (PEM) of
    authorities to trust instead of the system's. timeout: seconds for each step."""

    host: str
    port: int
    tls: Tls = "starttls"
    username: str = ""
    password: str = ""
    ca: str = ""
    timeout: float = 30.0


class SmtpServer:
    def __init__(self, server: MailServer) -> None:
        self._server = server
        self._context: ssl.SSLContext | None = None

    async def deliver(self, message: EmailMessage) -> None:
        server = self._server
        recipient = message["To"].addresses[0].addr_spec
        if server.tls != "none" and self._context is None:
            self._context = await asyncio.to_thread(_context, server.ca)
        client = SMTP(
            hostname=server.host,
            port=server.port,
            username=server.username or None,
            password=server.password or None,
            local_hostname=message["From"].addresses[0].domain.strip("[]"),
            timeout=server.timeout,
            use_tls=server.tls == "tls",
            start_tls=server.tls == "starttls",
            tls_context=self._context,
        )
        try:
            try:
                await client.connect()
            except aiosmtplib.SMTPResponseException as error:
                # also a 5xx: what refuses us here is the server's or our configuration, not this mail
                raise Later(f"{server.host} refuses us: {_words(error, recipient)}") from None
            except (aiosmtplib.SMTPException, OSError, ValueError) as error:
                raise Later(f"{server.host} cannot be used: {_words(error, recipient)}") from None
            await _hand_over(client, message, recipient)
        finally:
            client.close()

    def describe(self) -> dict[str, object]:
        return {"server": f"{self._server.host}:{self._server.port}", "tls": self._server.tls}


class Log:
    """For development: the text of every mail is a line of the log, with its link. A secret there, for this purpose."""

    async def deliver(self, message: EmailMessage) -> None:
        part = message.get_body(("plain",))
        text = "" if part is None else part.get_content()
        _log.info("mail is off (SMTP_HOST is empty); to %s: %s", message["To"], message["Subject"])
        for line in filter(None, text.splitlines()):  # a line of its own each, so that a link can be followed
            _log.info("| %s", line)

    def describe(self) -> dict[str, object]:
        return {"server": None}


async def _hand_over(client: SMTP, message: EmailMessage, recipient: str) -> None:
    try:
        await client.send_message(message)
    except aiosmtplib.SMTPNotSupported:
        raise Refused("the server takes no addresses beyond ASCII") from None
    except aiosmtplib.SMTPRecipientsRefused as error:
        raise _verdict(error.recipients[0], recipient) from None
    except aiosmtplib.SMTPResponseException as error:
        raise _verdict(error, recipient) from None
    except (aiosmtplib.SMTPException, OSError) as error:
        raise Later(_words(error, recipient)) from None
    # It is accepted, whatever becomes of the connection now.
    with contextlib.suppress(aiosmtplib.SMTPException, OSError):
        await client.quit()


def _verdict(error: aiosmtplib.SMTPResponseException, recipient: str) -> Later | Refused:
    """4xx: later; 5xx: never (RFC 5321, section 4.2.1). Codes below 400 are no answers to what was asked, or -1."""
    kind = Refused if 500 <= error.code <= 599 else Later
    return kind(_words(error, recipient))


def _words(error: Exception, recipient: str) -> str:
    """What went wrong, without the person's address: it ends up in logs and in the table of failed jobs."""
    code = f"{error.code} " if isinstance(error, aiosmtplib.SMTPResponseException) else ""
    said = error.message if isinstance(error, aiosmtplib.SMTPResponseException) else str(error)
    text = " ".join(f"{code}{said or type(error).__name__}".split())
    local = recipient.rpartition("@")[0]
    for part in (recipient, local):
        if len(part) > 2:
            text = text.replace(part, "…")
    return text[:300]


def _context(ca: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca or None)
