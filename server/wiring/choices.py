"""What the settings choose: the store, the way of mail, certificates, the name of this node."""

from __future__ import annotations

import logging
import secrets as random
from pathlib import Path
from ssl import SSLContext
from typing import Literal, cast
from urllib.parse import urlsplit

from media.ingest.rtmp import tls_context
from realtime.crowds import CrowdOptions
from realtime.typists import TypingOptions
from server.community.chat.service import ChatOptions
from server.integrations.mail import BadAddress, Delivery, Log, MailServer, Sender, SmtpServer, Templates
from server.kit.http.classes import parse_numbers
from server.kit.secrets import Secrets
from server.settings import SettingError, Settings
from storage.objects.folder import FolderStore
from storage.objects.s3 import S3Store
from storage.postgres.database import Database

log = logging.getLogger(__name__)

MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"


class CannotStart(Exception):
    """What the operator has to do, in words."""


def delivery_of(database: Database, secrets: Secrets, templates: Templates, settings: Settings) -> Delivery:
    try:
        sender = Sender.parse(settings.mail_from, urlsplit(settings.base_url).hostname or "localhost")
    except BadAddress as error:
        raise SettingError(f"MAIL_FROM: {error}") from None
    tls = cast(Literal["none", "starttls", "tls"], settings.smtp_tls)
    outlet = (
        SmtpServer(
            MailServer(
                host=settings.smtp_host,
                port=settings.smtp_port,
                tls=tls,
                username=settings.smtp_username,
                password=settings.smtp_password,
                ca=settings.smtp_ca,
                timeout=settings.mail_timeout,
            )
        )
        if settings.smtp_host
        else Log()
    )
    return Delivery(
        database,
        secrets,
        templates,
        outlet,
        sender,
        attempts=settings.mail_attempts,
        seconds=10 * settings.mail_timeout,
    )


def object_store(settings: Settings) -> FolderStore | S3Store:
    if not settings.s3_endpoint:
        return FolderStore(settings.data_path / "objects")
    return S3Store(
        settings.s3_endpoint,
        settings.s3_bucket,
        region=settings.s3_region,
        access_key=settings.s3_access_key,
        secret_key=settings.s3_secret_key,
    )


def chat_options(settings: Settings) -> ChatOptions:
    return ChatOptions(
        max_length=settings.chat_max_length,
        burst=settings.chat_burst,
        interval=settings.chat_interval,
        reaction_burst=settings.chat_reaction_burst,
        reaction_interval=settings.chat_reaction_interval,
        edit_seconds=settings.chat_edit_seconds,
        mentions=settings.chat_mentions,
        reactions=settings.chat_reactions,
        pins=settings.chat_pins,
        moderators=settings.chat_moderators,
        bans=settings.chat_bans,
        filters=settings.chat_filters,
        emotes=settings.chat_emotes,
        slow_most=settings.chat_slow_most,
        delay_most=settings.chat_delay_most,
        timeout_days=settings.chat_timeout_days,
        unique_seconds=settings.chat_unique_seconds,
        clear_most=settings.chat_clear_most,
        state_messages=settings.chat_state_messages,
        state_seconds=settings.chat_state_seconds,
    )


def crowds_of(settings: Settings) -> CrowdOptions:
    return CrowdOptions(
        most=settings.presence_most, sample=settings.presence_sample, leave_seconds=settings.presence_leave_seconds
    )


def typing_of(settings: Settings) -> TypingOptions:
    return TypingOptions(seconds=settings.typing_seconds, every=settings.typing_every, named=settings.typing_named)


def follows_most(settings: Settings) -> dict[str, int]:
    """By tier. Raises SettingError."""
    try:
        return parse_numbers(Settings().follows_most) | parse_numbers(settings.follows_most)
    except ValueError as error:
        raise SettingError(f"FOLLOWS_MOST: {error}") from None


def node_id_of(data: Path) -> str:
    """The same after a restart, so that a process knows its own leases again."""
    file = data / "node_id"
    if file.is_file() and (known := file.read_text(encoding="utf-8").strip()):
        return known
    made = f"node-{random.token_hex(4)}"
    file.write_text(made + "\n", encoding="utf-8")
    return made


def tls_of(settings: Settings) -> SSLContext | None:
    if not settings.tls_cert:
        return None
    try:
        for file in (settings.tls_cert, settings.tls_key):
            with open(file, "rb"):
                pass  # the error of the call below does not say which one it is
        return tls_context(settings.tls_cert, settings.tls_key)
    except OSError as error:
        raise SettingError(f"TLS_CERT and TLS_KEY cannot be used: {error}") from None
