"""All parts of one server process.

`Wiring.start` brings the parts up in the order in which they need each other; whatever came up goes down in the reverse
order when `close` is called or a later part fails.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING
from uuid import UUID

from media.egress.restream import RestreamOptions
from media.ingest.rtmp import RtmpOptions, RtmpServer
from media.package.live import PackageOptions
from media.transcode.image import Images
from media.transcode.renditions import Renditions
from media.transcode.sounds import Sounds
from media.transcode.thumbnail import Thumbnailer
from realtime.broker.memory import MemoryBroker
from realtime.broker.redis import RedisBroker
from realtime.events import Events
from realtime.hub import Hub, HubOptions
from realtime.presence import Presence
from realtime.presence.memory import MemoryPresence
from realtime.presence.redis import RedisPresence
from realtime.protocol.codes import ErrorCode
from realtime.roster import SocketOptions
from realtime.socket import Sockets
from realtime.ticks import ticks
from server.community.chat.channel import ChatChannels, StaffChannels
from server.community.chat.service import Chat
from server.community.follows.lists import Lists
from server.community.presence.circles import PREFIX, PeopleChannels
from server.community.presence.discretion import Discretion
from server.identity.accounts.recovery import ResetMails
from server.identity.apikeys.service import Keys
from server.identity.factors.service import Factors
from server.identity.oauth.service import Oauth
from server.identity.profile.avatars import Avatars
from server.identity.service import Identity
from server.integrations.mail import Mails, Templates
from server.integrations.signin.configured import configured
from server.kit.http.address import ClientAddress
from server.kit.http.classes import route_classes
from server.kit.limits import Limits
from server.kit.outgoing import Outgoing
from server.kit.reachable import Reachable
from server.kit.secrets import Secrets
from server.ops.health import Health
from server.ops.metrics import Metrics
from server.settings import SettingError, Settings
from server.streaming.addresses import Addresses
from server.streaming.broadcasts.director import Director, DirectorOptions
from server.streaming.broadcasts.live import written_elsewhere
from server.streaming.broadcasts.service import Broadcasts
from server.streaming.broadcasts.service import missing as no_such_broadcast
from server.streaming.channels.service import Channels
from server.streaming.clips.bounds import Bounds as ClipBounds
from server.streaming.iceservers import IceServers
from server.streaming.playback.doors import Door
from server.streaming.playback.files import Files as VideoFiles
from server.streaming.playback.rights import Rights
from server.streaming.playback.routes import MediaRoutes
from server.streaming.playback.sources import LiveSubjects, VideoSubjects
from server.streaming.playback.subjects import Kind
from server.streaming.playback.thumbnails import Thumbnails
from server.streaming.playback.videos import VideoRoutes
from server.streaming.playback.viewers import Viewers
from server.streaming.playback.views import Views
from server.streaming.protection.files import ProtectedFiles
from server.streaming.protection.keys import Keys as MediaKeys
from server.streaming.restream.dialer import Dialer
from server.streaming.restream.names import Names
from server.streaming.restream.pushes import Pushes
from server.streaming.restream.service import Restreams
from server.streaming.uploads.service import Uploads
from server.streaming.videos.captions import Captions
from server.streaming.videos.desk import Desk
from server.streaming.videos.invariant import LastReport
from server.streaming.videos.keeping import Keeping
from server.streaming.videos.models import SourceKind
from server.streaming.videos.opening import missing as no_such_video
from server.streaming.videos.progress import PREFIX as VIDEO
from server.streaming.videos.progress import ProgressChannels
from server.streaming.videos.thumbnails import OwnThumbnails
from server.trust.audit.service import AuditLog
from server.wiring.audience import FollowAudience
from server.wiring.choices import (
    MIGRATIONS,
    CannotStart,
    chat_options,
    crowds_of,
    delivery_of,
    node_id_of,
    object_store,
    tls_of,
    typing_of,
)
from server.wiring.clips import clips_of, cutter_of
from server.wiring.figures import watch
from server.wiring.ladders import ladders
from server.wiring.rtc import publishing, rtc_port, start_rtc, watching
from server.wiring.uploads import finishing_of, options_of, parts_of
from server.wiring.vod import Vod, videos_of
from server.wiring.watching import Bonds, Withdrawal, grants_of, views_of
from server.wiring.worker import People, rooms_reread, worker_of
from storage.embedded import EmbeddedError
from storage.embedded.postgres import EmbeddedPostgres
from storage.jobs import Jobs, Worker
from storage.objects import ObjectStore
from storage.objects.spool import Spool
from storage.postgres.database import Database, DatabaseUnavailable
from storage.postgres.migrations import MigrationError, migrate

if TYPE_CHECKING:
    from server.ops.tracing import Tracing

log = logging.getLogger(__name__)

FLEET_JOURNAL_SECONDS = 0.5


class Wiring:
    """All parts of one process. Attributes are there after `start`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._closing = AsyncExitStack()
        self.tracing: Tracing | None = None
        self.metrics = Metrics()
        self.health = Health()

    async def start(self) -> None:
        route_classes(self.settings)  # a rate that cannot be is told before anything starts
        self.rtc = rtc_port(self.settings)  # so is PUBLIC_IP
        self.ladders = ladders(self.settings)  # and LIVE_LADDER
        try:
            await self._start_database()
            await self._start_storage()
            await self._start_mail()
            await self._start_realtime()
            await self._start_features()
            self._closing.push_async_callback((await watch(self)).close)
            self.health.started = True
        except BaseException:
            await self._closing.aclose()
            raise

    async def close(self) -> None:
        await self._closing.aclose()

    async def _start_database(self) -> None:
        settings = self.settings
        data = settings.data_path
        try:
            data.mkdir(parents=True, exist_ok=True)
            self.node = settings.node_id or node_id_of(data)
        except OSError as error:
            raise CannotStart(
                f"nothing can be written to {data} ({error.strerror}). Set DATA_DIR to a folder of your own."
            ) from None
        self.dsn = settings.database_url
        try:
            if not self.dsn:
                embedded = EmbeddedPostgres(data / "postgres")
                self.dsn = await embedded.start()
                self._closing.push_async_callback(embedded.close)
            self._start_watchers()
            query = self.tracing.query if self.tracing is not None else None
            self.database = Database(self.dsn, max_size=settings.database_pool, on_query=query)
            await self.database.start()  # first, as it waits for a PostgreSQL that is starting
            self._closing.push_async_callback(self.database.close)
            await migrate(self.dsn, MIGRATIONS)
            self.secrets = Secrets(self.database, settings.secret_key)
            await self.secrets.start()
        except (EmbeddedError, MigrationError) as error:
            raise CannotStart(str(error)) from error
        except DatabaseUnavailable as error:
            where = "DATABASE_URL" if settings.database_url else "DATA_DIR"
            raise CannotStart(f"{error}. Is PostgreSQL running, and is {where} right?") from error

    def _start_watchers(self) -> None:
        """Where failures and traces are sent, before what they watch."""
        settings = self.settings
        # imported when they are used: a process without them starts sooner and is smaller
        if settings.sentry_dsn:
            from server.ops.failures import Failures  # noqa: PLC0415

            failures = Failures(settings.sentry_dsn, environment=settings.sentry_environment, node=self.node)
            failures.start()
            self._closing.push_async_callback(failures.stop)
            self.health.detail("failures", failures.describe)
        if settings.otel_exporter_otlp_endpoint:
            from server.ops.tracing import Tracing  # noqa: PLC0415

            self.tracing = Tracing(
                settings.otel_exporter_otlp_endpoint,
                headers=settings.otel_exporter_otlp_headers,
                service=settings.otel_service_name,
                node=self.node,
                share=settings.otel_traces_share,
            )
            self.tracing.start()
            self._closing.push_async_callback(self.tracing.close)

    async def _start_storage(self) -> None:
        settings = self.settings
        data = settings.data_path
        store = object_store(settings)
        await store.start()
        self._closing.push_async_callback(store.close)
        self.objects: ObjectStore = store
        self.spool = Spool(
            data / "spool",
            self.objects,
            max_bytes=settings.spool_max_bytes,
            cache_bytes=settings.segment_cache_bytes,
            # what another node continues after the death of this one begins where the store's journal ends
            **({"journal_seconds": FLEET_JOURNAL_SECONDS} if settings.redis_url else {}),
        )
        await self.spool.start(self._written_elsewhere)
        self._closing.push_async_callback(self.spool.close, settings.drain_seconds)
        self.jobs = Jobs()

    async def _start_mail(self) -> None:
        settings = self.settings
        templates = Templates(settings.base_url)
        self.mailer = Mails(self.jobs, self.secrets, templates)
        self.delivery = delivery_of(self.database, self.secrets, templates, settings)
        self.audit = AuditLog(self.database, settings.audit_retention_days)

    async def _start_realtime(self) -> None:
        settings = self.settings
        self.people = People(
            self.database,
            self.objects,
            self.jobs,
            self.mailer,
            self.audit,
            self.secrets,
            settings,
            reread_chat=self._reread_chat,
        )
        self.discretion = Discretion(self.people.profiles)
        linger = settings.viewer_seconds
        try:
            options = HubOptions(
                ticks=ticks(settings.socket_ticks),
                presence_seconds=settings.presence_seconds,
                crowds=crowds_of(settings),
                typing=typing_of(settings),
            )
        except ValueError as error:
            raise SettingError(f"SOCKET_TICKS: {error}") from None
        self.limits = Limits(settings.redis_url)
        self.limits.start()
        self._closing.push_async_callback(self.limits.close)
        if settings.redis_url:
            there: Presence = RedisPresence(settings.redis_url, linger=linger)
            self.bus = RedisBroker(settings.redis_url)
            self.hub = Hub(self.bus, there, node=self.node, options=options, discretion=self.discretion)
        else:
            there = MemoryPresence(linger)
            self.hub = Hub(MemoryBroker(), there, node=self.node, options=options, discretion=self.discretion)
        self.identity = Identity(self.database, settings, mailer=self.mailer, audit=self.audit, secrets=self.secrets)
        await self.identity.start()
        self._closing.push_async_callback(self.identity.close)
        self.factors = Factors(
            self.database, settings, self.identity, mailer=self.mailer, audit=self.audit, secrets=self.secrets
        )
        self.identity.use_factors(self.factors)
        self.outgoing = Outgoing(Reachable(settings.outgoing_ports, settings.outgoing_allowed))
        await self.outgoing.start()
        self._closing.push_async_callback(self.outgoing.close)
        self.oauth = Oauth(
            self.identity,
            configured(settings, self.outgoing),
            database=self.database,
            settings=settings,
            secrets=self.secrets,
            mailer=self.mailer,
            audit=self.audit,
        )
        self.factors.passkeys.add_way(self.oauth.opens)
        self.keys = Keys(
            self.database,
            mailer=self.mailer,
            audit=self.audit,
            most=settings.api_keys_per_account,
            revoke=self.identity.revoke,
        )
        await self.keys.start()
        self._closing.push_async_callback(self.keys.close)
        self.identity.use_keys(self.keys)
        self.client_address = ClientAddress(settings.trusted_proxies)
        self.viewers = Viewers(self.hub, self.database, self.client_address.of, settings.viewer_seconds)
        self.sockets = Sockets(
            self.hub,
            self.identity,
            viewer_of=self.viewers.viewer_of,
            address_of=self.client_address.of,
            origins=[settings.public_url, *settings.cors_origins.split(",")],
            options=SocketOptions(
                max_message=settings.socket_max_message,
                buffer=settings.socket_buffer,
                subscriptions=settings.socket_subscriptions,
                per_address=settings.sockets_per_address,
                most=settings.max_sockets,
                compress_above=settings.socket_compress_above,
            ),
        )
        self.events = Events(self.sockets.roster)

    async def _start_features(self) -> None:
        settings = self.settings
        self.channels = Channels(self.database)
        self.sounds = Sounds(settings.sound_children)
        self.thumbnails = Thumbnails(Thumbnailer(), self.spool, self.database, settings.thumbnail_seconds)
        self.keeping = Keeping(self.database, videos_of(self.database, self.jobs, settings), self.jobs, self.identity)
        self.director = Director(
            self.database,
            self.spool,
            self.hub,
            self.thumbnails,
            self.viewers,
            DirectorOptions(
                node=self.node,
                reconnect_window=settings.reconnect_window,
                publisher_dead_after=settings.publisher_dead_after,
                record=settings.record,
                disk_min_free=settings.disk_min_free,
                lease_seconds=settings.lease_seconds,
                fleet=bool(settings.redis_url),
            ),
            PackageOptions(
                segment_seconds=settings.segment_seconds,
                target_duration=settings.target_duration,
                part_seconds=settings.part_seconds,
                dvr_seconds=settings.dvr_seconds,
                live_edge_segments=settings.live_edge_segments,
                record=settings.record,
            ),
            self.jobs,
            Renditions(self.sounds, self.ladders, aac=settings.live_aac),
            self.keeping,
        )
        await self._start_rights()
        self.broadcasts = Broadcasts(
            self.database,
            self.director,
            self.channels,
            self.identity,
            self.viewers,
            self.thumbnails,
            self.jobs,
            self.live_door,
            record=settings.record,
            videos=self.keeping,
        )
        self._wire_people()
        follows, most = self.people.follows, settings.online_most
        self.follow_lists = Lists(self.database, self.identity, self.people.profiles, self.hub, most)
        circles = PeopleChannels(follows, self.identity, most)
        follows.on_changed(lambda follower, followee, on: self.hub.circle_changed(str(follower)))
        self.chat = Chat(
            self.database,
            self.broadcasts,
            self.hub,
            options=chat_options(settings),
            limits=self.limits,
            audience=FollowAudience(self.people.follows),
            people=self.identity,
            audit=self.audit,
            doors=self.live_door,
        )
        await self.chat.start()
        self._closing.push_async_callback(self.chat.close)
        live = ChatChannels(self.chat, self.broadcasts.state_of)
        self.hub.add_rules("live", live)
        self.hub.on_state(live.state_changed)
        self.hub.add_rules(PREFIX, circles)
        self.hub.add_circles(PREFIX, circles)
        self.hub.add_rules("staff", StaffChannels(self.chat, self.broadcasts.state_of))
        await self.hub.start()
        self._closing.push_async_callback(self.hub.close)
        await self.sockets.start()
        self.identity.on_ended(self._doubt)
        self.identity.on_ended(self.discretion.forget)
        self._closing.push_async_callback(self.sockets.close)
        await self.viewers.start()
        self._closing.push_async_callback(self.viewers.close)
        self.media = MediaRoutes(
            self.director,
            self.rights,
            self.spool,
            self.viewers,
            self.thumbnails,
            waiting=settings.media_waiting,
        )
        self._closing.push_async_callback(self.thumbnails.close)
        self._closing.push_async_callback(self.sounds.close)
        self._closing.push_async_callback(self.ladders.close)
        await self._start_videos()
        self.worker = self._worker()
        await self.worker.start()
        self._closing.push_async_callback(self.worker.close)
        await self.director.start()
        self._closing.push_async_callback(self.director.close)
        await start_rtc(self.rtc, settings)
        self._closing.push_async_callback(self.rtc.close)
        self.ice_servers = IceServers(settings)
        self.whip = publishing(self.rtc, self.director, settings)
        self.whep = watching(
            self.rtc, self.director, self.database, self.viewers, self.live_door, self.sounds, self.ladders, settings
        )
        self.whep.start()
        self.identity.on_ended(self.whep.ended)
        self._closing.push_async_callback(self.whep.close)
        await self._start_restreams()

        tls = tls_of(settings)
        self.rtmp = RtmpServer(
            self.director,
            RtmpOptions(
                rtmp_host=settings.rtmp_host,
                rtmp_port=settings.rtmp_port,
                rtmps_port=settings.rtmps_port,
                tls=tls,
                rtmp_handshake_timeout=settings.rtmp_handshake_timeout,
                rtmp_idle_timeout=settings.rtmp_idle_timeout,
                rtmp_max_message=settings.rtmp_max_message,
                rtmp_max_buffered=settings.rtmp_max_buffered,
                rtmp_connections_per_address=settings.rtmp_connections_per_address,
                rtmp_max_connections=settings.rtmp_max_connections,
                rtmp_read_coalesce_ms=settings.rtmp_read_coalesce_ms,
                ingest_max_bitrate=settings.ingest_max_bitrate,
                ingest_max_ahead=settings.ingest_max_ahead,
            ),
        )
        try:
            await self.rtmp.start()
        except OSError as error:
            name = "RTMPS_PORT" if self.rtmp.port else "RTMP_PORT"
            port = settings.rtmps_port if self.rtmp.port else settings.rtmp_port
            await self.rtmp.close()
            raise CannotStart(
                f"port {port} cannot be had ({error.strerror}). Stop the other program, or set {name} to a free port."
            ) from None
        self._closing.push_async_callback(self.rtmp.close)
        self.addresses = Addresses(settings.public_url, self.rtmp.port, self.rtmp.tls_port or None)

    async def _start_rights(self) -> None:
        follows = self.people.follows
        lives = LiveSubjects(self.database, self.director)
        self.rights = Rights(
            grants_of(self.secrets, self.settings), {Kind.LIVE: lives}, Bonds(follows), Bonds(follows), lives.held
        )
        self.live_door = Door(self.rights, Kind.LIVE, no_such_broadcast)
        withdrawal = Withdrawal(self.database, self.hub)
        self._closing.push_async_callback(withdrawal.close)
        self.rights.on_narrowed(withdrawal.narrowed)
        self.rights.on_unfollowed(withdrawal.unfollowed)
        follows.on_changed(self.rights.follow_changed)
        self.identity.on_ended(self.rights.ended)
        self.rights.start()
        self._closing.push_async_callback(self.rights.close)

    async def _start_videos(self) -> None:
        self.vod = Vod(self.dsn, self.database, self.objects, self.spool, self.jobs, self.settings)
        self.rights.add_source(Kind.VIDEO, VideoSubjects(self.vod.videos))
        door = Door(self.rights, Kind.VIDEO, no_such_video)
        await self.vod.start()
        self._closing.push_async_callback(self.vod.close)
        self.store_report = LastReport(self.vod.invariant)
        await self.store_report.start()
        self._closing.push_async_callback(self.store_report.close)
        self.video_files = VideoFiles(self.objects, self.settings.video_cache_bytes)
        self._closing.push_async_callback(self.video_files.close)
        self.views = Views(
            self.database,
            self.vod.videos,
            self.video_files,
            self.viewers,
            self.secrets.key("viewers of videos"),
            views_of(self.settings),
            secure=self.settings.public_url.lower().startswith("https://"),
        )
        self.views.start()
        self._closing.push_async_callback(self.views.close)
        keys = MediaKeys(self.secrets)
        self.protected_files = ProtectedFiles(self.video_files, keys, self.settings.video_protected_bytes)
        self._closing.push_async_callback(self.protected_files.close)
        self.video_media = VideoRoutes(self.rights, self.protected_files, self.views, self.settings.body_timeout)
        self.video_desk = Desk(
            self.database, self.objects, self.jobs, self.identity, door, self.views, keys, ClipBounds()
        )
        parts = parts_of(self.objects, self.settings)
        self.uploads = Uploads(
            self.database, parts, self.vod.videos, self.jobs, options_of(self.settings), node=self.node
        )
        await self.uploads.start()
        self.identity.on_ended(self.uploads.ended)
        self._closing.push_async_callback(self.uploads.close)
        self.finishing = finishing_of(self.database, self.objects, self.vod.videos, self.jobs, self.settings)
        self.captions = Captions(self.database, self.jobs, most=self.settings.video_captions)
        self.own_thumbnails = OwnThumbnails(self.database, self.objects, self.images)
        self.cutter = cutter_of(self.database, self.objects, self.jobs, self.spool, self.vod, self.settings)
        doors = {SourceKind.BROADCAST: self.live_door, SourceKind.VIDEO: door}
        self.clips = clips_of(self, doors)
        progress = ProgressChannels(self.database, self.hub)
        self.hub.add_rules(VIDEO, progress)
        await progress.start()
        self._closing.push_async_callback(progress.close)

    async def _start_restreams(self) -> None:
        settings = self.settings
        reach = Reachable(settings.restream_ports, settings.outgoing_allowed, setting="RESTREAM_PORTS")
        names = Names()
        self._closing.push_async_callback(names.close)
        self.pushes = Pushes(
            self.database,
            self.secrets,
            self.director,
            Dialer(Outgoing(reach, resolver=names), settings.restream_timeout),
            RestreamOptions(
                queue=settings.restream_queue_bytes,
                timeout=settings.restream_timeout,
                most_pause=settings.restream_pause,
            ),
            self.sounds,
        )
        await self.pushes.start()
        self._closing.push_async_callback(self.pushes.close)
        self.restreams = Restreams(self.database, self.secrets, self.pushes, reach, most=settings.restream_targets)

    def _wire_people(self) -> None:
        settings = self.settings
        self.identity.recovery.on_handed_over(self.people.streaming.hand_over)
        self.identity.recovery.on_handed_over(self.people.restream.hand_over)
        self.images = Images()
        self.avatars = Avatars(
            self.database,
            self.objects,
            self.images,
            self.jobs,
            audit=self.audit,
            max_bytes=settings.avatar_max_bytes,
        )

    async def drain(self) -> None:
        """A stop begins: no new publishers, broadcasts handed to the next process, players and sockets told."""
        self.health.stopping = True
        self.rtmp.stop_accepting()
        self.rtc.stop_accepting()
        await self.director.close()
        await self.pushes.close()
        await self.sockets.close(spread=self.settings.drain_seconds / 2)

    async def _written_elsewhere(self, prefixes: Collection[str]) -> set[str]:
        """Of what an earlier life of this node left in its spool: what another node has written to since."""
        async with self.database.acquire() as conn:
            return await written_elsewhere(conn, prefixes, self.node)

    def _worker(self) -> Worker:
        return worker_of(
            self.dsn,
            self.database,
            self.spool,
            self._forget_chat,
            self.settings,
            mail=self.delivery,
            audit=self.audit,
            people=self.people,
            resets=ResetMails(self.database, self.settings, self.mailer, self.secrets),
            vod=self.vod,
            cutter=self.cutter,
            finishing=self.finishing,
        )

    def _doubt(self, ended: Collection[UUID]) -> None:
        """Sockets hold on to a checked token: those of these sessions and accounts are asked for it again."""
        self.sockets.doubt(lambda who: who.user_id in ended or getattr(who, "session_id", None) in ended)

    def _reread_chat(self, id: UUID) -> None:
        rooms_reread(id, self.hub.reread)

    async def _forget_chat(self, id: UUID) -> None:
        await self.chat.forget(id)
        for channel in (f"live:{id}", f"staff:{id}"):
            self.hub.revoke(channel, ErrorCode.UNKNOWN_CHANNEL, "The broadcast was deleted.")
        self.hub.forget(f"live:{id}")
