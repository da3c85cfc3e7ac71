"""kill -9 of a process that writes to a spool: what it said was flushed is there, whole, and reaches the store."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from pathlib import Path

import pytest

from storage.objects import ObjectStore
from storage.objects.folder import FolderStore
from storage.objects.s3 import S3Store
from storage.objects.spool import Spool
from tests.conftest import S3

ROOT = Path(__file__).resolve().parents[2]

_WRITER = """
import asyncio, json, sys
from pathlib import Path
from storage.objects.folder import FolderStore
from storage.objects.s3 import S3Store
from storage.objects.spool import Spool
kind, folder, *s3 = sys.argv[1:]
async def main():
    store = FolderStore(Path(folder, "objects")) if kind == "folder" else S3Store(
        s3[0], s3[1], region="us-east-1", access_key=s3[2], secret_key=s3[3])
    await store.start()
    spool = Spool(Path(folder, "spool"), store, max_bytes=1 << 30, cache_bytes=0)
    await spool.start()
    shelf = spool.shelf("live/1")
    # A store that is away cannot say whether it has a journal; a new broadcast does not ask.
    begun = Path(folder, "spool/live/1/journal.jsonl").exists()
    lines = (await shelf.journal()).splitlines() if begun else []
    n = json.loads(lines[-1])["msn"] + 1 if lines else 0
    while True:
        shelf.add({f"v-{n}.m4s": [b"%d" % n] * 1000, f"a-{n}.m4s": [b"%d" % n]}, json.dumps({"msn": n}).encode())
        if n % 3 == 0:
            await shelf.flush()
            print(n, flush=True)
            await asyncio.sleep(0.002)
        n += 1
asyncio.run(main())
"""


@pytest.mark.parametrize("kind", ["folder", "s3", "s3-away"])
async def test_nothing_flushed_is_lost(kind: str, tmp_path: Path, s3: S3) -> None:
    store: ObjectStore
    if kind == "folder":
        arguments, store = [], FolderStore(tmp_path / "objects")
    else:
        arguments = [s3.endpoint, s3.bucket, s3.access_key, s3.secret_key]
        store = S3Store(s3.endpoint, s3.bucket, region=s3.region, access_key=s3.access_key, secret_key=s3.secret_key)
    chance = random.Random(kind)
    flushed = -1
    for _ in range(2 if kind == "s3-away" else 4):
        if kind == "s3-away":
            s3.server.close()
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _WRITER, kind.removesuffix("-away"), str(tmp_path), *arguments),
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=asyncio.subprocess.PIPE,
        )
        assert child.stdout is not None
        lines = chance.randint(1, 30)
        while lines and (line := await asyncio.wait_for(child.stdout.readline(), 30)):
            flushed = int(line)
            lines -= 1
        child.send_signal(signal.SIGKILL)
        # What it still said before it died counts too.
        for line in (await child.stdout.read()).splitlines():
            flushed = int(line) if line.isdigit() else flushed
        await child.wait()
    if s3.server.process is None:
        s3.server.start()
    await store.start()
    spool = Spool(tmp_path / "spool", store, max_bytes=1 << 30, cache_bytes=0)
    await spool.start()
    await spool.settled()
    journal = [json.loads(line)["msn"] for line in (await spool.shelf("live/1").journal()).splitlines()]
    assert journal == list(range(len(journal)))
    assert len(journal) > flushed > 0
    for n in journal:
        assert await store.get(f"live/1/v-{n}.m4s") == b"%d" % n * 1000
        assert await store.get(f"live/1/a-{n}.m4s") == b"%d" % n
    assert await store.get("live/1/journal.jsonl") == await spool.shelf("live/1").journal()
    await spool.close()
    await store.close()
