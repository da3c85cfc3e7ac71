"""The UDP port of WebRTC, as the settings say."""

from __future__ import annotations

from media.egress.programme import Ladders, Programmes, Sounds
from media.egress.whep import ViewerOptions
from media.ingest.whip import WhipOptions
from media.rtc.options import RtcOptions
from media.rtc.port import RtcPort
from server.settings import SettingError, Settings
from server.streaming.broadcasts.director import Director
from server.streaming.playback.doors import Door
from server.streaming.playback.viewers import Viewers
from server.streaming.whep.service import Limits, Sessions
from server.streaming.whip.service import Limits as PublisherLimits
from server.streaming.whip.service import Whips
from server.wiring.choices import CannotStart
from storage.postgres.database import Database


def rtc_port(settings: Settings) -> RtcPort:
    """Raises SettingError for what can be known before anything starts."""
    try:
        return RtcPort(
            RtcOptions(
                rtc_host=settings.rtc_host,
                rtc_port=settings.rtc_port,
                public_ip=settings.public_ip,
                rtc_max_peers=settings.rtc_max_peers,
                rtc_socket_buffer=settings.rtc_socket_buffer,
                rtc_connect_timeout=settings.rtc_connect_timeout,
                rtc_consent_timeout=settings.rtc_consent_timeout,
                rtc_max_handshakes=settings.rtc_max_handshakes,
                rtc_bad_per_address=settings.rtc_bad_per_address,
                rtc_errors_per_second=settings.rtc_errors_per_second,
                rtc_paths_per_peer=settings.rtc_paths_per_peer,
                rtc_sources_per_peer=settings.rtc_sources_per_peer,
            )
        )
    except ValueError as error:
        raise SettingError(str(error)) from None


async def start_rtc(port: RtcPort, settings: Settings) -> None:
    try:
        await port.start()
    except OSError as error:
        await port.close()
        raise CannotStart(
            f"UDP port {settings.rtc_port} cannot be had ({error.strerror}). "
            "Stop the other program, or set RTC_PORT to a free port."
        ) from None


def publishing(port: RtcPort, director: Director, settings: Settings) -> Whips:
    return Whips(
        port,
        director,
        PublisherLimits(settings.whip_most, settings.whip_per_address),
        WhipOptions(
            max_bitrate=settings.ingest_max_bitrate,
            max_ahead=settings.ingest_max_ahead,
            idle_timeout=settings.whip_idle_timeout,
            key_seconds=settings.segment_seconds,
            wait=settings.whip_wait,
            start_bitrate=settings.whip_start_bitrate,
        ),
    )


def watching(
    port: RtcPort,
    director: Director,
    database: Database,
    viewers: Viewers,
    door: Door,
    sounds: Sounds,
    ladders: Ladders,
    settings: Settings,
) -> Sessions:
    return Sessions(
        port,
        Programmes(sounds, ladders),
        director,
        database,
        viewers,
        door,
        Limits(settings.whep_most, settings.whep_per_broadcast, settings.whep_per_address),
        ViewerOptions(burst_bitrate=settings.whep_burst_mbit * 1e6, memory=settings.whep_memory),
    )
