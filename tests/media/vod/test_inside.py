"""What runs in a child."""

from __future__ import annotations

import asyncio
import sys

CHILDREN = ("cutting", "encode", "pictures", "probe", "sound")


async def test_children_load_neither_an_event_loop_nor_the_packager_of_live() -> None:
    """Each would cost every child half of its start; and one that is sealed can load nothing later."""
    asks = f"import sys, {', '.join(f'media.vod.{name}' for name in CHILDREN)}; print(*sys.modules)"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", asks, stdout=asyncio.subprocess.PIPE)
    told, _ = await process.communicate()
    loaded = told.decode().split()
    assert "media.vod.encode" in loaded
    assert not {"asyncio", "media.package.live", "urllib.request"} & set(loaded)
