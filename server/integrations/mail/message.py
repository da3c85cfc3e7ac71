"""One mail as it travels (RFC 5322, MIME): plain text with HTML beside it. Every attempt gives the same headers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from uuid import UUID

from server.integrations.mail.templates import PRODUCT, Rendered

# The local part and the domain hold nothing that has a meaning in a header or an SMTP command.
_LOCAL = re.compile(r"[^\s@<>()\[\],;:\\\"\x00-\x1f\x7f]{1,64}")
_DOMAIN = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.?)+|\[[0-9A-Za-z.:]+\]")
_FROM = re.compile(r'\s*(?:"?(?P<name>[^"<>\x00-\x1f]*?)"?\s*<(?P<in_brackets>[^<>\s]+)>|(?P<alone>[^<>\s]+))\s*')


class BadAddress(Exception):
    """No mail can be sent to, or from, this address."""


@dataclass(frozen=True, slots=True)
class Sender:
    """name: shown beside the address."""

    name: str
    address: Address

    @classmethod
    def parse(cls, text: str, host: str) -> Sender:
        """From `Name <address>` or an address; empty: no-reply at `host`. Raises BadAddress."""
        found = _FROM.fullmatch(text or f"no-reply@{host}")
        if found is None:
            raise BadAddress(f"{text!r} is not an address to send from")
        name, spec = found["name"] or PRODUCT, found["in_brackets"] or found["alone"]
        return cls(name, address(spec, name))

    @property
    def domain(self) -> str:
        return self.address.domain.strip("[]") or "localhost"


def address(text: str, name: str = "") -> Address:
    """An address with its domain in the form that DNS takes (IDNA). Raises BadAddress."""
    local, _, domain = text.rpartition("@")
    try:
        ascii_domain = domain if domain.startswith("[") else domain.encode("idna").decode()
    except UnicodeError:
        ascii_domain = ""
    if _LOCAL.fullmatch(local) is None or _DOMAIN.fullmatch(ascii_domain) is None or len(text) > 254:
        raise BadAddress("this is not an address that mail can be sent to")
    try:
        return Address(name, local, ascii_domain)
    except (ValueError, MessageError) as error:
        raise BadAddress("this is not an address that mail can be sent to") from error


def compose(id: UUID, sender: Sender, to: str, words: Rendered) -> EmailMessage:
    """id: a UUIDv7, whose time is the mail's. Raises BadAddress."""
    message = EmailMessage(policy=SMTP)
    message["From"] = sender.address
    message["To"] = address(to)
    message["Subject"] = words.subject
    message["Date"] = format_datetime(datetime.fromtimestamp((id.int >> 80) / 1000, UTC))
    message["Message-ID"] = f"<{id}@{sender.domain}>"
    # RFC 3834: so that no absence note answers it
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    message.set_content(words.text, cte="quoted-printable")
    message.add_alternative(words.html, subtype="html", cte="quoted-printable")
    # the same at every attempt, too
    message.set_boundary(f"=_{id.hex}")
    return message
