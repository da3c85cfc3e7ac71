"""`python -m server.demo --rtmp rtmp://HOST:1935/live/KEY [--seconds N]`: push the demo's picture and sound."""

from __future__ import annotations

import argparse
import contextlib
import os

import av.logging

from server.demo.push import end_with_parent, push
from server.demo.run import URL_VARIABLE


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m server.demo", description="Push a generated live picture.")
    arguments.add_argument("--rtmp", default=os.environ.get(URL_VARIABLE), help="address to push to, with the key")
    arguments.add_argument("--seconds", type=float, help="how long; for ever when not given")
    options = arguments.parse_args()
    if not options.rtmp:
        arguments.error("--rtmp is missing")
    av.logging.set_level(av.logging.PANIC)
    if os.environ.pop(URL_VARIABLE, None):
        end_with_parent()
    with contextlib.suppress(KeyboardInterrupt):
        push(options.rtmp, options.seconds)


if __name__ == "__main__":
    main()
