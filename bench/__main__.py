"""`python -m bench MODE`: arguments, one temporary folder, one mode; everything it started ends with it."""

from __future__ import annotations

import argparse
import os
import resource
import signal
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from types import ModuleType

from bench import hls, live, rest, transcode, upload, webrtc, ws
from bench.processes import BenchError, say
from bench.server import REPOSITORY


def main() -> None:
    options = arguments().parse_args()
    if not Path("/proc/self/smaps_rollup").exists():
        sys.exit("bin/bench reads what processes cost from /proc, so it needs Linux.")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    os.chdir(REPOSITORY)
    cache = REPOSITORY / "var" / "bench"
    with tempfile.TemporaryDirectory(prefix="social-flow-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o711)  # the database runs as a user of its own when we are root
        try:
            measure(options, folder, cache)
        except BenchError as error:
            sys.exit(f"bench: {error}")
        except KeyboardInterrupt:
            sys.exit("bench: interrupted")


def measure(options: argparse.Namespace, folder: Path, cache: Path) -> None:
    quick = options.quick
    runs = options.runs or (1 if quick else 3)
    machine()
    if options.mode == "live":
        plan = live.Plan(
            counts=options.n or ([2] if quick else [1, 10, 20, 40]),
            runs=runs,
            warm=3 if quick else 8,
            window=options.window or (5 if quick else 15),
            latency=5 if quick else 12,
            peers=options.peers.split(","),
        )
        live.run(plan, folder, cache)
    elif options.mode == "hls":
        hls.run(hls.Plan(runs, 2 if quick else 4, 240 if quick else 1860, options.connections), folder, cache)
    elif options.mode == "ws":
        subscribers = options.subscribers or (200 if quick else 1000)
        steady = max(1, 10_000 // subscribers)
        plan_ws = ws.Plan(
            subscribers=subscribers,
            runs=runs,
            seconds=2 if quick else 4,
            rates=(0, *(options.rate or (min(steady, 100), min(steady * 6, 100)))),
            servers=ws.WITH_DEFLATE if options.deflate else ws.chosen(options.servers),
        )
        ws.run(plan_ws, folder)
    elif options.mode == "transcode":
        plans = transcode.Plans(runs, 6 if quick else 60, 0 if quick else 120)
        transcode.run(plans, folder, cache)
    elif options.mode == "upload":
        upload.run(upload.Plan(runs, 10 if quick else 100), folder)
    elif options.mode == "rest":
        rest.run(rest.Plan(runs, 2 if quick else 5, options.connections), folder, cache)
    elif options.mode == "webrtc" and options.delay:
        browser("glass").run(5 if quick else 20, folder)
    elif options.mode == "webrtc":
        plan_rtc = webrtc.Plan(
            counts=options.n or ([1, 5] if quick else [1, 5, 20, 50]),
            runs=options.runs or 1,  # the peers take long
            window=options.window or (3 if quick else 7),
            peers=options.peers.split(","),
        )
        webrtc.run(plan_rtc, folder, cache)
    else:
        browser("delay").run(8 if quick else 20, folder)


def browser(mode: str) -> ModuleType:
    """A mode that drives a browser; the others need none."""
    try:
        return import_module(f"bench.{mode}")
    except ImportError as error:
        raise BenchError(f"{error.name} is not installed; bin/test sets it up. It drives the browser.") from None


def machine() -> None:
    load = os.getloadavg()[0]
    say(f"{os.cpu_count()} processors, load {load:.1f} at the start.")
    if load > 0.5:
        say(
            "Something else is running here: compare only the figures of one table, and measure again when it is quiet."
        )


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bin/bench", description="Measure the server and its peers on this machine.")
    modes = parser.add_subparsers(dest="mode", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--quick", action="store_true", help="under a minute: shows that it works, not how fast")
    common.add_argument("--runs", type=bounded(1, 9), default=0, help="alternating runs, of which the median counts")
    wrk = argparse.ArgumentParser(add_help=False)
    wrk.add_argument("--connections", type=bounded(1, 1000), default=50, help="connections of wrk")

    mode = modes.add_parser("live", parents=[common], help="RTMP pushes: CPU, memory, keeping up, delays")
    mode.add_argument("--n", type=bounded(1, live.MOST), nargs="+", help="pushes at once (default 1 10 20 40)")
    mode.add_argument("--window", type=bounded(2, 120), help="how long the CPU is counted, s")
    mode.add_argument("--peers", default="nginx", help="comma-separated: nginx, ffmpeg; empty: none")
    modes.add_parser("hls", parents=[common, wrk], help="a 30-minute playlist and live parts over HTTP")
    mode = modes.add_parser("ws", parents=[common], help="one channel to many WebSockets")
    mode.add_argument("--subscribers", type=bounded(1, 10_000), help="default 1000, at most 10000")
    mode.add_argument("--rate", type=bounded(1, 100), nargs="*", help="messages a second, one after another")
    mode.add_argument(
        "--servers", default="", help=f"separated by semicolons, of: {'; '.join(ws.SERVERS)}. Parts of names do"
    )
    mode.add_argument("--deflate", action="store_true", help="what permessage-deflate costs and saves")
    modes.add_parser("rest", parents=[common, wrk], help="reading a list, writing a chat message")
    mode = modes.add_parser("webrtc", parents=[common], help="a broadcast forwarded to viewers by WebRTC")
    mode.add_argument("--n", type=bounded(1, 200), nargs="+", help="viewers at once (default 1 5 20 50)")
    mode.add_argument("--window", type=bounded(2, 120), help="how long the CPU is counted, s (default 7)")
    mode.add_argument("--delay", action="store_true", help="from a picture in one page of a browser to another instead")
    mode.add_argument("--peers", default="janus,relay", help="comma-separated: janus, relay; empty: none")
    modes.add_parser("transcode", parents=[common], help="a video to its ladder, beside one command of ffmpeg")
    modes.add_parser("upload", parents=[common], help="a file by a form and by tus, next to copying it")
    modes.add_parser("delay", parents=[common], help="from the demo's clock to the picture in a browser")
    return parser


def bounded(least: int, most: int) -> type[int]:
    class Bounded(int):
        def __new__(cls, text: str) -> Bounded:
            value = int(text)
            if not least <= value <= most:
                raise argparse.ArgumentTypeError(f"{value} is not from {least} to {most}")
            return super().__new__(cls, value)

    return Bounded


if __name__ == "__main__":
    main()
