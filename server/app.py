"""Builds the aiohttp application from a Wiring, and is the server that `python -m server` starts and stops."""

from __future__ import annotations

import gc
import logging
import socket
from urllib.parse import urlsplit

import asyncpg
import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from realtime.protocol.asyncapi import asyncapi
from server.community.chat import routes as chat
from server.community.follows import routes as follows
from server.identity import routes as identity
from server.identity.access import routes as access
from server.identity.apikeys import routes as apikeys
from server.identity.factors import routes as factors
from server.identity.oauth import routes as oauth
from server.identity.privacy import routes as privacy
from server.identity.profile import routes as profile
from server.kit.http import install, runner
from server.kit.http.connections import room_for
from server.kit.http.install import MEDIA_PREFIXES
from server.kit.logs import configure
from server.ops import eventstream
from server.ops import routes as operation
from server.settings import Settings
from server.streaming.addresses import Address
from server.streaming.broadcasts import routes as broadcasts
from server.streaming.channels import routes as channels
from server.streaming.clips import routes as clips
from server.streaming.playback import retention
from server.streaming.restream import routes as restream
from server.streaming.uploads import routes as uploads
from server.streaming.uploads.form import Form
from server.streaming.videos import routes as videos
from server.streaming.whep import routes as whep
from server.streaming.whip import routes as whip
from server.trust.audit import routes as audit
from server.web.routes import install_pages, not_found_page
from server.wiring.process import Wiring
from storage.objects import StoreError
from storage.postgres.database import DatabaseUnavailable

log = logging.getLogger(__name__)

BACKLOG = 4096
OTHER_FILES = 256
"""Descriptors for everything that is no connection: files, child processes, Redis, the store."""
A_PART_IS_AWAY = (
    DatabaseUnavailable,
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.InternalClientError,  # a connection whose end is on its way
    StoreError,
)


def build_app(wiring: Wiring) -> web.Application:
    """All HTTP of one process: the declared API, media, the socket, the pages."""
    settings = wiring.settings
    app = web.Application(client_max_size=settings.max_body)
    declared = [
        identity.routes(wiring.identity, settings),
        access.routes(wiring.identity),
        factors.routes(wiring.factors, settings),
        oauth.routes(wiring.oauth),
        profile.routes(wiring.people.profiles, wiring.avatars, settings),
        privacy.routes(wiring.people.exports, wiring.people.departures, wiring.identity),
        channels.routes(wiring.channels, wiring.addresses, wiring.director),
        restream.routes(wiring.restreams),
        broadcasts.routes(wiring.broadcasts, wiring.addresses, wiring.viewers),
        whip.routes(wiring.whip, wiring.rtc, wiring.ice_servers, settings.rtc_max_sdp),
        whep.routes(wiring.whep, wiring.rtc, wiring.viewers, wiring.ice_servers, settings.rtc_max_sdp),
        uploads.routes(wiring.uploads, Form(wiring.uploads), wiring.video_desk, wiring.addresses),
        videos.routes(wiring.video_desk, wiring.captions, wiring.own_thumbnails, wiring.keeping, wiring.addresses),
        clips.routes(wiring.clips, wiring.addresses),
        retention.routes(wiring.database, wiring.vod.videos),
        chat.routes(wiring.chat),
        follows.routes(wiring.people.follows, wiring.follow_lists, wiring.people.profiles),
        eventstream.routes(wiring.events),
        audit.routes(wiring.audit),
        apikeys.routes(wiring.keys),
        operation.routes(wiring.health, wiring.metrics, settings),
    ]
    wiring.keys.offer(apikeys.scopes_of(declared))
    install(
        app,
        declared,
        authenticator=wiring.identity,
        settings=settings,
        secrets=wiring.secrets,
        database=wiring.database,
        audit=wiring.audit,
        limits=wiring.limits,
        observer=wiring.metrics,
        tracer=wiring.tracing,
        media_prefixes=(*MEDIA_PREFIXES, "/assets/", "/avatars/"),
        unavailable=A_PART_IS_AWAY,
        not_found_page=not_found_page,
    )
    wiring.media.install(app)
    wiring.video_media.install(app)
    wiring.avatars.install(app)
    app.router.add_get("/ws", wiring.sockets.handle)
    app.router.add_get("/asyncapi.json", _asyncapi(settings))
    install_pages(app)
    return app


def _asyncapi(settings: Settings) -> Handler:
    """The socket described to programs, as /openapi.json describes the rest."""
    public = urlsplit(settings.base_url)
    body = msgspec.json.encode(
        asyncapi(title="Social Flow", version="1", host=public.netloc, secure=public.scheme == "https")
    )

    async def answer(request: web.Request) -> web.Response:
        headers = {"Access-Control-Allow-Origin": "*", "Cache-Control": "no-cache"}
        return web.Response(body=body, content_type="application/json", headers=headers)

    return answer


class Server:
    """One process: HTTP on a socket that is bound already, RTMP beside it, all parts behind them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._wiring = Wiring(settings)
        self._runner: web.AppRunner | None = None
        self._started = False
        self.http_port = 0

    @property
    def rtmp_port(self) -> int:
        return self._wiring.rtmp.port

    @property
    def address(self) -> Address:
        """Where people reach it, as far as it is known without a request."""
        return self._wiring.addresses.at(self._settings.public_url.rstrip("/") or f"http://localhost:{self.http_port}")

    async def start(self, listener: socket.socket) -> None:
        configure(self._settings.log_format, self._settings.log_level)
        self.http_port = listener.getsockname()[1]
        await self._wiring.start()
        self._started = True
        settings = self._settings
        served = self._runner = runner(
            build_app(self._wiring),
            shutdown_timeout=settings.drain_seconds,
            write_timeout=settings.http_write_timeout,
            header_timeout=settings.http_header_timeout,
            max_connections=room_for(
                settings.http_max_connections, settings.rtmp_max_connections + settings.database_pool + OTHER_FILES
            ),
        )
        self._wiring.health.detail("http", served.connections.describe)
        await self._runner.setup()
        await web.SockSite(self._runner, listener, backlog=BACKLOG).start()
        # what the start made stays; the collector need not walk it again with every frame's garbage
        gc.collect()
        gc.freeze()

    async def close(self) -> None:
        """No new publishers; broadcasts handed to a restart; sockets told to come back; then everything else."""
        if not self._started:
            return
        self._started = False
        await self._wiring.drain()
        if self._runner is not None:
            await self._runner.cleanup()
        await self._wiring.close()
