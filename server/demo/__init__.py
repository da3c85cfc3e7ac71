"""A live broadcast for people who have no encoder at hand: `bin/run --demo`.

The parent half (`run.py`) is a client of the public API and owns the child process; the child half (`push.py`, started
as `python -m server.demo`) draws, encodes and pushes through RTMP, and ends with the server. `picture.py` describes
the picture and the block code that a program can read the time of a frame from.
"""

from __future__ import annotations

from server.demo.run import run_demo

__all__ = ["run_demo"]
