"""What is not for everybody plays on in the browser for longer than its addresses are good."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Browser, Response

from tests.e2e.place import Place, encoder, window

GRANT = re.compile(r"/live/[^/]+/([^/]+)/")


@pytest.mark.timeout(120)
async def test_a_private_broadcast_plays_on_with_new_addresses(browser: Browser, place: Place, ffmpeg: str) -> None:
    owner = await place.register("private")
    body = {"title": "For me alone", "visibility": "private"}
    started = await place.call("POST", "/live/start", body, owner.access_token)
    context = await browser.new_context()
    await context.add_init_script(owner.session())
    grants: list[str] = []
    refused: list[str] = []

    def seen(answer: Response) -> None:
        found = GRANT.search(answer.url)
        if found and "/api/" not in answer.url:
            grants.append(found[1])
            if answer.status == 403:
                refused.append(answer.url)

    async with encoder(ffmpeg, started["ingest"]["rtmp"]):
        context.on("response", seen)
        watching = await window(context, f"{place.http}/watch/{started['id']}")
        await watching.plays(beyond=12, within=60)
    assert len(set(grants)) > 2
    assert "p" not in grants
    assert refused == []
    assert watching.wrong == []
