"""The pages over HTTP: validators, compression, lasting addresses, a policy that lets no inline script run."""

from __future__ import annotations

import gzip
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from server.web import install_pages
from server.web.files import VENDOR, load_bundle
from server.web.routes import HERE, PAGES

Client = TestClient[web.Request, web.Application]


@pytest.fixture
def node_modules(tmp_path: Path) -> Path:
    """A player as npm would have put it, without asking npm."""
    player = tmp_path / "node_modules" / "hls.js" / "dist" / "hls.min.mjs"
    player.parent.mkdir(parents=True)
    player.write_text("export default 1;\n//# sourceMappingURL=hls.min.mjs.map\n")
    return tmp_path / "node_modules"


@pytest.fixture
async def client(node_modules: Path) -> AsyncIterator[Client]:
    app = web.Application()
    install_pages(app, node_modules=node_modules)
    async with TestClient(TestServer(app), auto_decompress=False) as client:
        yield client


@pytest.mark.parametrize("path", [path.replace("{id}", "0192f0c1-0000-7000-8000-000000000001") for path in PAGES])
async def test_every_page_has_a_policy_without_inline_script(client: Client, path: str) -> None:
    answer = await client.get(path)
    text = gzip.decompress(await answer.read()).decode()
    assert answer.status == 200
    assert answer.content_type == "text/html"
    policy = answer.headers["Content-Security-Policy"]
    script = next(part for part in policy.split("; ") if part.startswith("script-src"))
    assert script == "script-src 'self'"
    assert "default-src 'none'" in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert not re.search(r"<script(?![^>]*\bsrc=)", text)
    assert not re.search(r"\son\w+=|\sstyle=|<style", text)
    assert "{{" not in text
    assert '<html lang="en">' in text
    assert answer.headers["Cache-Control"] == "no-cache"


async def test_an_unknown_address_is_answered_by_a_page_with_a_way_home(client: Client) -> None:
    for path in ("/watch", "/watch/"):
        answer = await client.get(path)
        text = (await answer.read()).decode()
        assert answer.status == 404
        assert answer.content_type == "text/html"
        assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
        assert 'href="/"' in text
        assert "{{" not in text


async def test_everything_a_page_names_is_there_and_keeps_for_good(client: Client) -> None:
    for page in ("/", "/watch/x", "/studio", "/account", "/account/reset", "/docs", "/admin"):
        text = gzip.decompress(await (await client.get(page)).read()).decode()
        names = set(re.findall(r'(?:src|href)="(/assets/[^"]+)"', text))
        assert len(names) > 5
        for name in names:
            answer = await client.get(name)
            assert answer.status == 200, name
            assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"


async def test_every_import_of_a_module_leads_somewhere() -> None:
    assets = HERE / "assets"
    for module in assets.glob("*.js"):
        for name in re.findall(r"(?:from|import\(?)\s*'(\./[^']+)'", module.read_text()):
            assert name.removeprefix("./") in VENDOR or (assets / name).is_file(), f"{module.name} imports {name}"


async def test_no_module_writes_markup() -> None:
    forbidden = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser")
    for module in (HERE / "assets").glob("*.js"):
        assert not forbidden.search(module.read_text()), module.name


async def test_unversioned_names_are_revalidated(client: Client) -> None:
    first = await client.get("/assets/vendor/hls.mjs")
    assert first.headers["Cache-Control"] == "no-cache"
    assert first.content_type == "text/javascript"
    again = await client.get("/assets/vendor/hls.mjs", headers={"If-None-Match": first.headers["ETag"]})
    assert again.status == 304
    assert await again.read() == b""
    # RFC 9110 section 13.1.2: "the condition is false if … one of the listed tags matches"
    listed = await client.get("/assets/vendor/hls.mjs", headers={"If-None-Match": f'"x", W/{first.headers["ETag"]}'})
    assert listed.status == 304
    other = await client.get("/assets/vendor/hls.mjs", headers={"If-None-Match": '"something-else"'})
    assert other.status == 200


async def test_a_client_without_gzip_gets_the_plain_bytes_under_another_tag(client: Client) -> None:
    packed = await client.get("/assets/style.css", headers={"Accept-Encoding": "gzip"})
    plain = await client.get("/assets/style.css", headers={"Accept-Encoding": "identity"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in plain.headers
    assert gzip.decompress(await packed.read()) == await plain.read()
    # RFC 9110 section 8.8.3.3: representations with different codings have different strong validators
    assert packed.headers["ETag"] != plain.headers["ETag"]
    assert packed.headers["Vary"] == plain.headers["Vary"] == "Accept-Encoding"


async def test_source_maps_are_not_promised(client: Client) -> None:
    answer = await client.get("/assets/vendor/hls.mjs", headers={"Accept-Encoding": "identity"})
    assert await answer.read() == b"export default 1;\n"


async def test_a_page_of_another_release_still_gets_its_files_but_nobody_keeps_them(client: Client) -> None:
    answer = await client.get("/assets/0123456789ab/home.js")
    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ["/assets/none.js", "/assets/../routes.py", "/assets/%2e%2e/routes.py"])
async def test_only_what_was_read_at_start_is_served(client: Client, path: str) -> None:
    answer = await client.get(path)
    assert answer.status == 404


async def test_a_missing_package_says_what_to_run(tmp_path: Path) -> None:
    app = web.Application()
    install_pages(app, node_modules=tmp_path)
    async with TestClient(TestServer(app)) as client:
        answer = await client.get("/assets/vendor/hls.mjs")
        assert answer.status == 404
        assert "npm ci" in await answer.text()


def test_the_version_changes_with_any_byte(tmp_path: Path, node_modules: Path) -> None:
    root = tmp_path / "web"
    (root / "assets").mkdir(parents=True)
    (root / "pages").mkdir()
    (root / "pages" / "home.html").write_text("{{assets}}")
    (root / "assets" / "a.js").write_text("1")
    first = load_bundle(root, node_modules)
    assert first.pages["home"].body == f"/assets/{first.version}".encode()
    assert load_bundle(root, node_modules).version == first.version
    (root / "assets" / "a.js").write_text("2")
    assert load_bundle(root, node_modules).version != first.version


STATIC = re.compile(r"^import (?:[^;]*? from )?'\./([\w-]+\.js)';", re.M)


def test_the_pages_stay_small() -> None:
    """What a first visit to the watch page loads from us, gzipped, beside the player: kept under 78 kB, of which the
    chat is 23 kB, signing in 10 kB and the style of all pages 10 kB. What is imported when it is needed (the tools of
    those who moderate, WebRTC, the replay) is not in it, nor what only other pages import."""
    bundle = load_bundle(HERE, HERE / "no-such-folder")
    page = bundle.pages["watch"].body.decode()
    names, left = set[str](), set(re.findall(r"/([\w-]+\.(?:js|css|svg))\"", page))
    assert {"watch.js", "style.css"} <= left
    while left:
        name = left.pop()
        names.add(name)
        if name.endswith(".js"):
            left |= set(STATIC.findall(bundle.assets[name].body.decode())) - names
    assert {"player.js", "chat-room.js", "socket.js"} <= names
    assert names.isdisjoint({"whep.js", "chat-modes.js", "chat-people.js", "replay.js", "studio.js"})
    weight = sum(len(bundle.assets[name].gzip or bundle.assets[name].body) for name in names)
    assert weight < 78_000, {name: len(bundle.assets[name].gzip or bundle.assets[name].body) for name in names}
