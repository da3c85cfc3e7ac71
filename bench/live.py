"""`bin/bench live`: what a pushed stream costs, and how soon its media is listed."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median as middle

from bench import nginx
from bench.figures import Table, median, percentile, ratio, verdict
from bench.livepeers import FfmpegListen, NginxRtmp, Ours, Taker
from bench.media import FRAME_RATE, Tag, live_media, read_flv
from bench.playlists import Follower, KeepUp
from bench.processes import BenchError, Process, machine_busy, say, wait_until
from bench.pusher import Pusher

STAGGER = 0.1
MOST = 200


@dataclass(frozen=True, slots=True)
class Plan:
    """counts: pushes at once. warm, window, latency: s before the CPU is counted, while it is, of the timed push."""

    counts: Sequence[int]
    runs: int
    warm: float
    window: float
    latency: float
    peers: Sequence[str]


@dataclass(slots=True)
class Figures:
    """One list entry a run. cpu in % of a core a stream, memory in MB a stream, times in s."""

    cpu: list[float] = field(default_factory=list)
    user: list[float] = field(default_factory=list)
    database: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    rss: list[float] = field(default_factory=list)
    pss: list[float] = field(default_factory=list)
    rss_each: list[float] = field(default_factory=list)
    pss_each: list[float] = field(default_factory=list)
    behind: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    listed: list[float] = field(default_factory=list)
    listed_p95: list[float] = field(default_factory=list)
    unit: list[float] = field(default_factory=list)


def run(plan: Plan, folder: Path, cache: Path) -> None:
    if max(plan.counts) > MOST:
        raise BenchError(f"--n is at most {MOST}")
    flv = live_media(cache)
    tags = read_flv(flv)
    takers: dict[str, Callable[[], Taker]] = {Ours.name: Ours}
    if "nginx" in plan.peers and (module := nginx.rtmp_module()):
        takers[NginxRtmp.name] = lambda: NginxRtmp(module)
    if "ffmpeg" in plan.peers:
        takers[FfmpegListen.name] = FfmpegListen
    results: dict[tuple[str, int], Figures] = {}
    for count in plan.counts:
        for number in range(plan.runs):
            for name, make in takers.items():
                say(f"{name}, {count} pushes, run {number + 1} of {plan.runs} …")
                here = folder / f"{name.split()[0]}-{count}-{number}"
                figures = results.setdefault((name, count), Figures())
                measure(make(), count, plan, figures, here, flv, tags)
                say(f"  {figures.cpu[-1]:.3f} % of a core a stream, {1000 * figures.behind[-1]:.0f} ms behind")
                shutil.rmtree(here, ignore_errors=True)
    show(results, list(takers), plan.counts)


def measure(taker: Taker, count: int, plan: Plan, figures: Figures, folder: Path, flv: Path, tags: list[Tag]) -> None:
    """One start of one server: `count` ffmpeg pushes for the CPU, then one more push with a clock for the delays."""
    with ExitStack() as undo:
        undo.callback(taker.stop)
        taker.start(folder, count + 1)
        idle = taker.cost(memory=True)
        pushed, timed = taker.streams[:count], taker.streams[count]
        keep_up = KeepUp([stream.read for stream in pushed], taker.poll_seconds)
        keep_up.start()
        undo.callback(keep_up.stop)
        limit = plan.warm + plan.window + plan.latency + 2 * STAGGER * count + 60
        pushes = []
        for at, stream in enumerate(pushed):
            command = ["ffmpeg", "-nostdin", "-v", "error", "-re", "-stream_loop", "-1", "-i", str(flv)]
            command += ["-c", "copy", "-t", f"{limit:.0f}", "-f", "flv", stream.rtmp]
            push = Process(command, log=folder / f"push{at}.log")
            undo.callback(push.stop, 2)
            pushes.append(push)
            time.sleep(STAGGER)
        time.sleep(plan.warm)

        began, before, busy = time.monotonic(), taker.cost(), machine_busy()
        database = taker.database_cost()
        time.sleep(plan.window)
        spent, used = taker.cost(memory=True), taker.database_cost().since(database)
        elapsed, busy_after = time.monotonic() - began, machine_busy()
        keep_up.stop()
        dead = [push for push in pushes if not push.alive]
        if dead:
            raise BenchError(f"{taker.name}: {len(dead)} of {count} pushes ended: {dead[0].tail()}")

        per_stream = 100 / elapsed / count
        figures.cpu.append((spent.cpu - before.cpu) * per_stream)
        figures.user.append((spent.user - before.user) * per_stream)
        figures.database.append(used.cpu * per_stream)
        figures.busy.append(100 * (busy_after[0] - busy[0]) / max(busy_after[1] - busy[1], 0.01))
        figures.rss.append(spent.rss)
        figures.pss.append(spent.pss)
        figures.rss_each.append((spent.rss - idle.rss) / count)
        figures.pss_each.append((spent.pss - idle.pss) / count)
        figures.behind.append(max(keep_up.behind(began)))

        pusher, follower = Pusher(timed.rtmp, tags), Follower(timed.read, timed.wait)
        follower.start()
        undo.callback(follower.stop)
        pusher.start()
        undo.callback(pusher.stop)
        wait_until(lambda: pusher.media_seconds > plan.latency or bool(pusher.failed), plan.latency + 30, "the push")
        if pusher.failed:
            raise BenchError(f"{taker.name}: the timed push failed: {pusher.failed}")
        if complaints := taker.complaints():
            say(f"  its log says:\n{complaints[:1000]}")
        delays(pusher.sent, follower.news, figures)


def delays(sent: list[float], news: list[tuple[float, float]], figures: Figures) -> None:
    """From when frames left and units were listed: the start, and how long after a unit's last frame it was listed."""
    if not news:
        figures.first.append(float("inf"))
        return
    figures.first.append(news[0][0] - sent[0])
    waits, units = [], []
    for (_, before), (at, listed) in pairwise(news):
        last = round(listed * FRAME_RATE) - 1
        if 0 <= last < len(sent):
            waits.append(at - sent[last])
            units.append(listed - before)
    if waits:
        figures.listed.append(middle(waits))
        figures.listed_p95.append(percentile(waits, 0.95))
        figures.unit.append(middle(units))


def show(results: dict[tuple[str, int], Figures], names: list[str], counts: Sequence[int]) -> None:
    cost = Table(
        "CPU in % of one core for each stream; memory in MB",
        ["server", "pushes", "CPU", "of it user", "database", "RSS", "RSS a stream", "PSS a stream", "machine busy %"],
    )
    times = Table(
        "Playlists: behind is the worst stream's; the other columns are of one more push, which knows its frames",
        ["server", "pushes", "behind, ms", "unit, s", "first listed, s", "last frame to listed, ms", "p95, ms"],
    )
    for count in counts:
        for name in names:
            f = results[name, count]
            cost.add(
                name, count, median(f.cpu, 3), median(f.user, 3), median(f.database, 3), median(f.rss, 0),
                median(f.rss_each), median(f.pss_each), median(f.busy, 0),
            )  # fmt: skip
            times.add(
                name, count, median(ms(f.behind), 0), median(f.unit), median(f.first), median(ms(f.listed), 1),
                median(ms(f.listed_p95), 1),
            )  # fmt: skip
    cost.show()
    times.show()
    say()
    most = max(counts)
    ours = results[Ours.name, most]
    if NginxRtmp.name in names:
        share = ratio(ours.cpu, results[NginxRtmp.name, most].cpu)
        verdict(f"CPU of {most} streams as a multiple of nginx-rtmp's", share, 1.5, most=True)
    few = min(counts)
    if few < most:  # what the first stream brings with it (code, thumbnails) is not what a stream costs
        growth = (middle(ours.pss) - middle(results[Ours.name, few].pss)) / (most - few)
        verdict(f"memory of a stream, from {few} to {most}", growth, 4, most=True, unit=" MB")
    else:
        verdict("memory of a stream, over the idle server", middle(ours.pss_each), 4, most=True, unit=" MB")
    verdict("the playlist most behind", max(ms(ours.behind)), 100, most=True, unit=" ms")
    verdict("first playable part after the first frame", middle(ours.first), 0.4, most=True, unit=" s")
    for count in counts:
        delay = ms(results[Ours.name, count].listed)
        aim = 20 if count < 40 else 50
        what = f"a part is listed after its last frame, {count} streams"
        verdict(what, middle(delay) if delay else None, aim, most=True, unit=" ms")


def ms(seconds: list[float]) -> list[float]:
    return [1000 * value for value in seconds]
