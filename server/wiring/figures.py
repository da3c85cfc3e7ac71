"""What /metrics and /health know of each part of a server process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.ops.delay import LoopDelay

if TYPE_CHECKING:
    from server.wiring.process import Wiring


async def watch(wiring: Wiring) -> LoopDelay:
    """After all parts are up. What it gives back watches the loop until it is closed."""
    metrics, health, checks = wiring.metrics, wiring.health, Checks(wiring)
    delay = LoopDelay(metrics)
    await delay.start()
    metrics.gauge("live_broadcasts", "Broadcasts by state", wiring.director.by_state, label="state")
    metrics.counter("media_answers", "Requests for media answered", lambda: wiring.media.answered)
    metrics.counter("media_sent_bytes", "Bytes of media answered", lambda: wiring.media.sent_bytes)
    metrics.gauge("media_waiting_requests", "Blocked playlist and part requests", lambda: wiring.media.waiting)
    metrics.counter("video_answers", "Requests for files of videos answered", lambda: wiring.video_media.answered)
    metrics.counter("video_sent_bytes", "Bytes of videos answered", lambda: wiring.video_media.sent_bytes)
    metrics.counter("video_reads", "Files of videos read from the store", lambda: wiring.video_files.reads)
    metrics.gauge("webrtc_peers", "WebRTC sessions", lambda: wiring.rtc.count)
    metrics.gauge("whip_publishers", "Publishers by WebRTC", lambda: wiring.whip.count)
    metrics.gauge("whep_viewers", "Viewers by WebRTC", lambda: wiring.whep.count)
    metrics.counter("webrtc_packets", "Packets of WebRTC by what became of them", wiring.rtc.packets, label="outcome")
    metrics.gauge("uploads_writing", "Uploads that come just now", lambda: wiring.uploads.writing)
    metrics.counter("upload_bytes", "Bytes of uploads that were kept", lambda: wiring.uploads.received_bytes)
    metrics.gauge("spool_pending_bytes", "Segments not in the store yet", lambda: wiring.spool.pending_bytes)
    metrics.gauge(
        "store_faults",
        "Objects that no row speaks of (orphans, orphan_bytes) and rows' objects that are missing, at the last check",
        wiring.store_report.figures,
        label="kind",
    )
    metrics.gauge("disk_free_bytes", "Free disk under DATA_DIR", wiring.spool.disk_free)
    health.add("database", checks.database_answers)
    health.add("disk", checks.disk_has_room, needed=False)
    health.add("spool", checks.spool_drains, needed=False)
    health.add("store", checks.store_takes, needed=False)
    if wiring.settings.redis_url:
        health.add("redis", checks.redis_answers, needed=False)
    for name, part in (
        ("database", wiring.database),
        ("identity", wiring.identity),
        ("outgoing", wiring.outgoing),
        ("jobs", wiring.worker),
        ("limits", wiring.limits),
        ("mail", wiring.delivery),
        ("keys", wiring.keys),
        ("director", wiring.director),
        ("rtmp", wiring.rtmp),
        ("webrtc", wiring.rtc),
        ("whip", wiring.whip),
        ("whep", wiring.whep),
        ("restream", wiring.pushes),
        ("sounds", wiring.sounds),
        ("ladders", wiring.ladders),
        ("rights", wiring.rights),
        ("views", wiring.views),
        ("video_files", wiring.video_files),
        ("protected_files", wiring.protected_files),
        ("spool", wiring.spool),
        ("videos", wiring.vod),
        ("uploads", wiring.uploads),
        ("hub", wiring.hub),
        ("sockets", wiring.sockets),
    ):
        health.detail(name, part.describe)
    return delay


class Checks:
    """Each says what is wrong with a part, in words for the operator; None when nothing is."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring

    async def database_answers(self) -> str | None:
        async with self._wiring.database.acquire() as conn:
            await conn.fetchval("select 1")
        return None

    async def disk_has_room(self) -> str | None:
        free, least = self._wiring.spool.disk_free(), self._wiring.settings.disk_min_free
        if free >= least:
            return None
        return f"{free >> 20} MiB are free: nothing new is recorded below {least >> 20} MiB"

    async def spool_drains(self) -> str | None:
        pending = self._wiring.spool.pending_bytes
        if pending <= self._wiring.settings.spool_max_bytes // 2:
            return None
        return f"the store does not take segments: {pending >> 20} MiB wait in the spool"

    async def store_takes(self) -> str | None:
        if not self._wiring.spool.failing:
            return None
        return "the store does not answer: what is written waits in the spool, and recordings cannot be played"

    async def redis_answers(self) -> str | None:
        if self._wiring.bus.connected and not self._wiring.limits.away:
            return None
        return "Redis does not answer: processes do not hear of each other, and each counts its limits alone"
