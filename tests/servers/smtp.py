"""An SMTP server of this process (aiosmtpd), on a port of the loopback interface: STARTTLS, AUTH, and moods.

`moods` are taken one a mail: a reply such as `451 4.3.0 later` for its data, `drop` to cut the connection instead of an
answer, `drop after` to take the mail and then cut it, `hang` to never answer. Without a mood a mail is accepted.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


class Received:
    """One mail as it came. secured: over TLS; user: who had signed in."""

    def __init__(self, session: Session, envelope: Envelope) -> None:
        self.raw = bytes(envelope.content or b"")
        self.sender = envelope.mail_from or ""
        self.recipients = list(envelope.rcpt_tos)
        self.options = list(envelope.mail_options)
        self.secured = session.ssl is not None
        self.user: bytes | None = session.auth_data if session.authenticated else None
        parsed = message_from_bytes(self.raw, policy=default)
        assert isinstance(parsed, EmailMessage)
        self.message = parsed

    def part(self, kind: str) -> str:
        part = self.message.get_body((kind,))
        assert part is not None
        text: str = part.get_content()
        return text


class SmtpServer:
    def __init__(self, *, tls: ssl.SSLContext | None = None, login: tuple[str, str] | None = None, utf8: bool = False):
        self.mails: list[Received] = []
        self.moods: deque[str] = deque()
        self.refuse: dict[str, str] = {}  # the answer to RCPT TO, by recipient
        self.attempts = 0
        self.port = 0
        self._tls = tls
        self._login = login
        self._utf8 = utf8
        self._server: asyncio.Server | None = None
        self._connections: list[SMTP] = []

    async def __aenter__(self) -> SmtpServer:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self, port: int = 0) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._protocol, "127.0.0.1", port or self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        if self._server is None:
            return
        self._server.close()
        for connection in self._connections:
            if connection.transport is not None:
                connection.transport.abort()
            task = connection._handler_coroutine
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None

    def _protocol(self) -> SMTP:
        connection = SMTP(
            self,
            enable_SMTPUTF8=self._utf8,
            hostname="mail.example.org",
            tls_context=self._tls,
            require_starttls=self._tls is not None,
            auth_required=self._login is not None,
            auth_require_tls=self._tls is not None,
            authenticator=self._authenticate,
            loop=asyncio.get_running_loop(),
        )
        self._connections.append(connection)
        return connection

    def _authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        assert isinstance(data, LoginPassword)
        given = (data.login.decode(), data.password.decode())
        return AuthResult(success=given == self._login, handled=False, auth_data=data.login)

    # what aiosmtpd asks

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.refuse:
            self.attempts += 1
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self.attempts += 1
        mood = self.moods.popleft() if self.moods else ""
        if mood in ("drop", "drop after"):
            if mood == "drop after":
                self.mails.append(Received(session, envelope))
            assert server.transport is not None
            server.transport.abort()
            return "421 gone"
        if mood == "hang":
            await asyncio.Event().wait()
        if mood:
            return mood
        self.mails.append(Received(session, envelope))
        return "250 OK"


def certificate(folder: Path, name: str = "localhost") -> tuple[ssl.SSLContext, Path]:
    """A server's context with a certificate of its own making, and the file that a client has to trust for it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    trusted, private = folder / "smtp.pem", folder / "smtp.key"
    trusted.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(trusted, private)
    return context, trusted
