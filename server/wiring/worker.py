"""What does jobs: the same in the server and in `bin/worker`, and the few parts that the latter has."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from uuid import UUID, uuid4

from realtime.broker.redis import RedisBroker
from realtime.messenger import Messenger
from server.community.chat.models import channel_of, staff_channel_of
from server.community.chat.personal import ChatData
from server.community.chat.store import ChatStore
from server.community.follows.personal import FollowsData
from server.community.follows.service import Follows
from server.identity.accounts.recovery import RESET_JOB, ResetMails
from server.identity.factors import jobs as factor_jobs
from server.identity.privacy import jobs as privacy_jobs
from server.identity.privacy.account import AccountData
from server.identity.privacy.departures import Departures
from server.identity.privacy.exports import Exports
from server.identity.profile.service import Profiles
from server.integrations.mail import Delivery, Mails, Templates
from server.kit.http import idempotency
from server.kit.mail import Mailer
from server.kit.personal import PersonalData
from server.kit.secrets import Secrets
from server.settings import Settings
from server.streaming.broadcasts.director import UNRECORDED_JOB
from server.streaming.broadcasts.jobs import Files, delete_files, forget_recording, sweep
from server.streaming.broadcasts.personal import StreamingData
from server.streaming.broadcasts.service import DELETED_JOB, RETENTION_JOB
from server.streaming.clips.personal import ClipsData
from server.streaming.clips.work import Cutter
from server.streaming.restream.personal import RestreamData
from server.streaming.uploads.jobs import Finishing
from server.streaming.uploads.personal import UploadsData
from server.streaming.videos.personal import VideosData
from server.trust.audit.personal import AuditData
from server.trust.audit.service import PRUNE_CRON, PRUNE_JOB, AuditLog
from server.wiring.choices import MIGRATIONS, delivery_of, follows_most, object_store
from server.wiring.clips import StoreJournals, cutter_of
from server.wiring.uploads import finishing_of, parts_of
from server.wiring.vod import Vod
from storage.jobs import Jobs, Worker
from storage.objects import ObjectStore
from storage.objects.deletions import Deletions
from storage.postgres.database import Database
from storage.postgres.migrations import migrate

RETENTION_CRON = "17 * * * *"


class People:
    """Profiles, archives and leaving: what a server and a worker have alike. A feature that keeps something of people
    is one more line in `parts`; the security log comes last, as the others may still write to it."""

    def __init__(
        self,
        database: Database,
        objects: ObjectStore,
        jobs: Jobs,
        mailer: Mailer,
        audit: AuditLog,
        secrets: Secrets,
        settings: Settings,
        *,
        reread_chat: Callable[[UUID], None] = lambda _: None,
    ) -> None:
        self.streaming = StreamingData(database, objects, jobs, settings.base_url)
        self.restream = RestreamData(database)
        parts: list[PersonalData] = [
            AccountData(database, objects, elsewhere=("channels", "follow_people", "clips", "clip_rules")),
            self.restream,  # before the channels that it hangs on
            self.streaming,
            UploadsData(database, parts_of(objects, settings)),  # before the videos that they were to be
            ClipsData(database),  # before the videos that they are
            VideosData(database, objects, jobs, settings.base_url),
            ChatData(database, reread_chat),
            FollowsData(database),
            AuditData(database, audit),
        ]
        self.follows = Follows(database, follows_most(settings))
        self.profiles = Profiles(database, settings, audit=audit, followers=self.follows)
        self.exports = Exports(database, objects, jobs, settings, parts, mailer=mailer, audit=audit)
        self.departures = Departures(database, jobs, settings, secrets, parts, mailer=mailer, audit=audit)


class WorkerWiring:
    """The parts that jobs need, for `bin/worker`: the database and the store, no sockets and no media."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._closing = AsyncExitStack()

    async def start(self) -> None:
        settings = self._settings
        try:
            database = Database(settings.database_url, max_size=settings.database_pool)
            await database.start()
            self._closing.push_async_callback(database.close)
            await migrate(settings.database_url, MIGRATIONS)
            secrets = Secrets(database, settings.secret_key)
            await secrets.start()
            objects = object_store(settings)
            await objects.start()
            self._closing.push_async_callback(objects.close)
            chat = ChatStore(database)
            templates = Templates(settings.base_url)
            audit = AuditLog(database, settings.audit_retention_days)
            jobs = Jobs()
            mails = Mails(jobs, secrets, templates)
            reread = await self._reread()
            self.people = people = People(database, objects, jobs, mails, audit, secrets, settings, reread_chat=reread)
            files = Deletions(objects)
            vod = Vod(settings.database_url, database, objects, files, jobs, settings)
            cutter = cutter_of(database, objects, jobs, StoreJournals(objects), vod, settings)
            worker = worker_of(
                settings.database_url,
                database,
                files,
                chat.forget_room,
                settings,
                mail=delivery_of(database, secrets, templates, settings),
                audit=audit,
                people=people,
                resets=ResetMails(database, settings, mails, secrets),
                vod=vod,
                cutter=cutter,
                finishing=finishing_of(database, objects, vod.videos, jobs, settings),
            )
            await vod.start()
            self._closing.push_async_callback(vod.close)
            await worker.start()
            self._closing.push_async_callback(worker.close)
        except BaseException:
            await self._closing.aclose()
            raise

    async def close(self) -> None:
        await self._closing.aclose()

    async def _reread(self) -> Callable[[UUID], None]:
        """How the servers hear that something of a chat was erased. Without a bus they find it by comparing with the
        database."""
        if not self._settings.redis_url:
            return lambda _: None
        self.messenger = messenger = Messenger(RedisBroker(self._settings.redis_url), f"worker {uuid4().hex}")
        await messenger.start()
        self._closing.push_async_callback(messenger.close)
        return lambda id: rooms_reread(id, messenger.reread)


def rooms_reread(id: UUID, reread: Callable[[str], None]) -> None:
    """Say it of both channels of a chat."""
    for channel in (channel_of(id), staff_channel_of(id)):
        reread(channel)


def worker_of(
    dsn: str,
    database: Database,
    files: Files,
    forget_chat: Callable[[UUID], Awaitable[None]],
    settings: Settings,
    *,
    mail: Delivery,
    audit: AuditLog,
    people: People,
    resets: ResetMails,
    vod: Vod,
    cutter: Cutter,
    finishing: Finishing,
) -> Worker:
    """Every feature's jobs: the same in the server and in `bin/worker`."""

    async def broadcast_deleted(payload: bytes) -> None:
        id = UUID(payload.decode())
        await delete_files(files, str(id))
        await forget_chat(id)

    async def retention(payload: bytes) -> None:
        await sweep(database, files, settings.retention_days)

    async def unrecorded(payload: bytes) -> None:
        id = UUID(payload.decode())
        await delete_files(files, str(id))
        await forget_recording(database, id)

    async def expired_keys(payload: bytes) -> None:
        await idempotency.prune(database)

    async def prune_factors(payload: bytes) -> None:
        await factor_jobs.prune(database)

    worker = Worker(dsn, heartbeat=timedelta(seconds=settings.job_heartbeat))
    vod.register(worker)
    cutter.register(worker)
    finishing.register(worker)
    worker.register(UNRECORDED_JOB, unrecorded)
    worker.register(DELETED_JOB, broadcast_deleted)
    worker.register(RETENTION_JOB, retention)
    worker.every(RETENTION_JOB, RETENTION_CRON)
    worker.register(PRUNE_JOB, audit.prune_job)
    privacy_jobs.register(worker, database, files, people.profiles, people.exports, people.departures)
    worker.register(factor_jobs.PRUNE_JOB, prune_factors)
    worker.every(factor_jobs.PRUNE_JOB, factor_jobs.PRUNE_CRON)
    worker.every(PRUNE_JOB, PRUNE_CRON)
    worker.register(idempotency.PRUNE_JOB, expired_keys)
    worker.every(idempotency.PRUNE_JOB, idempotency.PRUNE_CRON)
    mail.register(worker)
    worker.register(RESET_JOB, resets.job)
    return worker
