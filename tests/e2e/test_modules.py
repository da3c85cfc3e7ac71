"""Modules of the pages on their own, in the browser that runs them: the clock, the seats, the loader of playlists."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio
from aiohttp import web
from playwright.async_api import Browser, Page

from server.web import install_pages


@pytest_asyncio.fixture(loop_scope="session")
async def here() -> AsyncIterator[str]:
    """The pages alone, without the product behind them."""
    app = web.Application()
    install_pages(app)

    async def empty(request: web.Request) -> web.Response:
        return web.Response(text="<!doctype html><title>empty</title>", content_type="text/html")

    app.router.add_get("/empty", empty)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser, here: str) -> Page:
    page = await browser.new_page()
    await page.goto(f"{here}/empty")
    return page


async def test_a_right_clock_is_believed_and_a_wrong_one_is_put_right(page: Page) -> None:
    offsets = await page.evaluate(
        """async () => {
            const { ServerClock } = await import('/assets/clock.js');
            const learnt = (off) => {
                const clock = new ServerClock();
                // answers spread over a second: Date has whole seconds, this device is `off` ms behind the server
                for (let ms = 0; ms < 1000; ms += 50) {
                    const server = 1_700_000_000_000 + ms;
                    const date = new Date(Math.floor(server / 1000) * 1000).toUTCString();
                    clock.learn(date, server - off - 10, server - off);
                }
                return clock.offset;
            };
            return [learnt(0), learnt(30_000), learnt(-5_000)];
        }"""
    )
    assert offsets[0] == 0
    assert abs(offsets[1] - 30_000) <= 100
    assert abs(offsets[2] + 5_000) <= 100


async def test_a_clock_that_jumps_is_learnt_again(page: Page) -> None:
    offset = await page.evaluate(
        """async () => {
            const { ServerClock } = await import('/assets/clock.js');
            const clock = new ServerClock();
            const at = 1_700_000_000_000;
            clock.learn(new Date(at).toUTCString(), at, at + 10);
            clock.learn(new Date(at + 60_000).toUTCString(), at, at + 10);
            return clock.offset;
        }"""
    )
    assert 58_000 < offset < 61_000


async def test_windows_of_one_profile_share_four_seats_and_hand_them_on(browser: Browser, here: str) -> None:
    context = await browser.new_context()
    take = """async () => {
        const { Seats } = await import('/assets/seats.js');
        window.seats = new Seats();
        window.seats.take(2);
    }"""
    pages = [await context.new_page() for _ in range(3)]
    for page in pages:
        await page.goto(f"{here}/empty")
    for page in pages[:2]:
        await page.evaluate(take)
        await page.wait_for_function("window.seats.held === 2")
    await pages[2].evaluate(take)
    # the third has asked for a lock that it cannot have yet
    await pages[2].wait_for_function("navigator.locks.query().then((all) => all.pending.length >= 4)")
    assert await pages[2].evaluate("[window.seats.held, window.seats.may(0)]") == [0, False]
    await pages[0].close()
    await pages[2].wait_for_function("window.seats.held === 2")
    assert await pages[2].evaluate("window.seats.may(1)")
    await pages[1].evaluate("window.seats.release()")
    await pages[2].wait_for_function("navigator.locks.query().then((all) => all.held.length === 2)")


async def test_without_locks_seats_are_kept_in_storage(browser: Browser, here: str) -> None:
    """As on a phone that opens http://192.168.…: no Web Locks outside a secure context."""
    context = await browser.new_context()
    await context.add_init_script("Object.defineProperty(Navigator.prototype, 'locks', { value: undefined })")
    pages = [await context.new_page() for _ in range(3)]
    for page in pages:
        await page.goto(f"{here}/empty")
        await page.evaluate(
            """async () => {
                const { Seats } = await import('/assets/seats.js');
                window.seats = new Seats();
                window.seats.take(2);
            }"""
        )
    held = [await page.evaluate("window.seats.held") for page in pages]
    assert held == [2, 2, 0]
    await pages[0].evaluate("window.seats.release()")
    await pages[2].wait_for_function("window.seats.held === 2")


LOADER = """async ({ seated, answers }) => {
    const { playlistLoader } = await import('/assets/playlists.js');
    const asked = [];
    class Base {
        constructor() { this.stats = { loading: { start: 0 } }; }
        load(context, config, callbacks) {
            this.context = context;
            this.stats.loading.start = 1;
            asked.push(context.url);
            const data = answers[Math.min(asked.length, answers.length) - 1];
            setTimeout(() => callbacks.onSuccess({ url: context.url, data }, this.stats, context, null), 5);
        }
        abort() {} destroy() {}
    }
    const Loader = playlistLoader(Base, { may: () => seated }, { learn() {} });
    const load = (url) => new Promise((resolve) => {
        const onSuccess = (response, stats, context) => resolve([response.data, context.url]);
        new Loader({}).load({ url }, {}, { onSuccess });
    });
    const first = await load(location.origin + '/v.m3u8');
    const second = await load(location.origin + '/v.m3u8?_HLS_msn=7&_HLS_part=2&_HLS_skip=YES');
    return { first, second, asked: asked.map((url) => url.replace(location.origin, '')) };
}"""


async def test_with_a_seat_a_reload_waits_at_the_server(page: Page) -> None:
    result = await page.evaluate(LOADER, {"seated": True, "answers": ["PART-TARGET=0.05 a", "b"]})
    assert result["asked"] == ["/v.m3u8", "/v.m3u8?_HLS_msn=7&_HLS_part=2&_HLS_skip=YES"]
    assert result["second"][0] == "b"


async def test_without_a_seat_it_asks_again_until_there_is_news(page: Page) -> None:
    first = "#EXT-X-PART-INF:PART-TARGET=0.05\na"
    result = await page.evaluate(LOADER, {"seated": False, "answers": [first, first, first, "news"]})
    assert result["asked"][0] == "/v.m3u8"
    assert set(result["asked"][1:]) == {"/v.m3u8?_HLS_skip=YES"}
    assert len(result["asked"]) == 4
    assert result["second"][0] == "news"
    assert "_HLS_msn=7" in result["second"][1]  # hls.js sees the request that it made
