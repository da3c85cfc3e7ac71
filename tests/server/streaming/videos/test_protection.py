"""Videos that are protected, over HTTP: what is handed out, to whom the key is, and what of it leaves the server."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import av
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from media.vod.engine import encode_audio, encode_chunk, probe
from media.vod.options import Options, Rung
from media.vod.packaging import package
from media.vod.plan import make_plan
from server.kit.secrets import BrokenSeal
from server.streaming.playback.subjects import Kind
from server.streaming.protection.keys import Keys
from server.streaming.protection.models import Scheme
from server.streaming.videos.personal import VideosData
from server.streaming.visibility import Visibility
from tests.server.identity.privacy.place import Person
from tests.server.streaming.videos.conftest import Studio
from tests.server.streaming.videos.test_playback import folder_of, follow, get, lost

RUNG = "v-240p"
REVOKED_WITHIN = 2.0


@pytest.fixture(scope="session")
def media(clip: Callable[[float], Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A whole set, by name: 2 s in two segments."""
    folder = tmp_path_factory.mktemp("set")

    async def write() -> None:
        options = Options(ladder=(Rung("240p", 240, 400_000),), segment_seconds=1.0, preset="ultrafast")
        plan = make_plan(await probe(clip(2)), options)
        results = [await encode_chunk(clip(2), plan, chunk.number, ["240p"], folder) for chunk in plan.chunks]
        for name, body in package(plan, results, await encode_audio(clip(2), plan, folder)).items():
            (folder / name).write_bytes(body)

    asyncio.run(write())
    return {path.name: path.read_bytes() for path in folder.iterdir()}


async def film(
    studio: Studio, owner: Person, media: dict[str, bytes], visibility: Visibility = Visibility.PUBLIC
) -> str:
    id = await studio.ready(owner, visibility=visibility)
    for name, body in {**media, "thumb-1.jpg": b"jpeg"}.items():
        await studio.objects.put(f"videos/{id}/{name}", body, "application/octet-stream")
    return id


async def protect(owner: Person, id: str, scheme: str) -> dict[str, Any]:
    shown: dict[str, Any] = await owner.call("PUT", f"/api/v1/videos/{id}", {"protection": scheme})
    assert shown["protection"] == scheme
    return shown


async def body(studio: Studio, path: str) -> bytes:
    status, _, found = await get(studio, path)
    assert status == 200, (path, status, found)
    return found


async def ask(studio: Studio, folder: str, said: bytes) -> tuple[int, bytes]:
    async with studio.place.client.post(f"{folder}/license", data=said) as answer:
        assert answer.headers.get("Cache-Control") in ("no-store", None) or answer.status != 200
        return answer.status, await answer.read()


def kid(playlist: str) -> bytes:
    found = re.search(r"KEYID=0x([0-9a-f]{32})", playlist)
    assert found is not None
    return bytes.fromhex(found[1])


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decoded(data: bytes, **options: str) -> int:
    with av.open(io.BytesIO(data), options=options) as container:
        return len(list(container.decode(video=0)))


async def test_aes_128_from_the_key_to_the_plain_segment(studio: Studio, media: dict[str, bytes]) -> None:
    ann = await studio.person("ann")
    id = await film(studio, ann, media)
    shown = await protect(ann, id, "aes-128")
    assert shown["playback"]["dash"] is None
    assert shown["playback"]["license"] is None
    folder = f"/videos/{id}/p"
    playlist = (await body(studio, f"{folder}/{RUNG}.m3u8")).decode()
    assert "#EXT-X-SESSION-KEY:METHOD=AES-128" in (await body(studio, f"{folder}/index.m3u8")).decode()
    (uri,) = re.findall(r'#EXT-X-KEY:METHOD=AES-128,URI="([^"]*)"\n', playlist)
    names = re.findall(r"^[^#].*m4s$", playlist, re.MULTILINE)
    assert len(names) == 2
    status, headers, key = await get(studio, f"{folder}/{uri}")
    assert (status, len(key), headers["Cache-Control"]) == (200, 16, "no-store")
    for number, name in enumerate(names):
        status, headers, secret = await get(studio, f"{folder}/{name}")
        assert (status, headers["Cache-Control"]) == (200, "public, max-age=31536000, immutable")
        plain = Cipher(AES(key), CBC(number.to_bytes(16, "big"))).decryptor().update(secret)
        assert plain[: -plain[-1]] == media[f"{RUNG}-{number}.m4s"]
        # as of plain ones: parts, conditions, the same each time
        etag = headers["ETag"]
        assert (await get(studio, f"{folder}/{name}", **{"If-None-Match": etag}))[0] == 304
        part = await get(studio, f"{folder}/{name}", **{"Range": "bytes=100-199", "If-Range": etag})
        assert (part[0], part[2]) == (206, secret[100:200])
        assert part[1]["Content-Range"] == f"bytes 100-199/{len(secret)}"
        assert (await get(studio, f"{folder}/{RUNG}-{number}.m4s"))[0] == 410
    # what is not covered, and what is not there
    assert await body(studio, f"{folder}/{RUNG}-init.mp4") == media[f"{RUNG}-init.mp4"]
    assert await body(studio, f"{folder}/thumb-1.jpg") == b"jpeg"
    assert (await get(studio, f"{folder}/index.mpd"))[0] == 404
    assert (await ask(studio, folder, json.dumps({"kids": ["AA"]}).encode()))[0] == 404


async def test_clear_key_from_the_license_to_the_picture(studio: Studio, media: dict[str, bytes]) -> None:
    ann = await studio.person("ann")
    id = await film(studio, ann, media)
    shown = await protect(ann, id, "clearkey")
    folder = f"/videos/{id}/p"
    assert urlsplit(shown["playback"]["license"]).path == f"{folder}/license"
    playlist = (await body(studio, f"{folder}/{RUNG}.m3u8")).decode()
    (init,) = re.findall(r'#EXT-X-MAP:URI="([^"]*)"', playlist)
    names = re.findall(r"^[^#].*m4s$", playlist, re.MULTILINE)
    data = b"".join([await body(studio, f"{folder}/{name}") for name in (init, *names)])
    manifest = (await body(studio, f"{folder}/index.mpd")).decode()
    assert str(UUID(bytes=kid(playlist))) in manifest
    assert f'initialization="{init}"' in manifest
    status, license = await ask(
        studio, folder, json.dumps({"kids": [b64(kid(playlist))], "type": "temporary"}).encode()
    )
    assert status == 200
    ((key,), kind) = json.loads(license).values()
    assert (key["kty"], key["kid"], kind) == ("oct", b64(kid(playlist)), "temporary")
    secret = base64.urlsafe_b64decode(key["k"] + "==")
    frames = decoded(media[f"{RUNG}-init.mp4"] + media[f"{RUNG}-0.m4s"] + media[f"{RUNG}-1.m4s"])
    assert decoded(data, decryption_key=secret.hex()) == frames == 48
    # the sound has the same key
    sound = (await body(studio, f"{folder}/a.m3u8")).decode()
    assert kid(sound) == kid(playlist)
    assert (await get(studio, f"{folder}/{UUID(bytes=kid(playlist)).hex[16:]}.key"))[0] == 404
    assert (await get(studio, f"{folder}/{RUNG}-0.m4s"))[0] == 410
    once = studio.wiring.protected_files.encrypted
    await asyncio.gather(*(body(studio, f"{folder}/{name}") for name in names * 10))
    assert studio.wiring.protected_files.encrypted == once


BAD_LICENSES = [
    b"", b"{", b"[]", b'{"kids": []}', b'{"kids": ["%%%"]}', b'{"kids": [1]}', b"\xff\xfe", b'{"kids": "AAAA"}',
    b'{"kids": ["' + b"A" * 65 + b'"]}',
]  # fmt: skip


async def test_hostile_license_requests_get_a_sentence(studio: Studio, media: dict[str, bytes]) -> None:
    ann = await studio.person("ann")
    id = await film(studio, ann, media)
    folder = f"/videos/{id}/p"
    assert (await ask(studio, folder, b'{"kids": ["AAAA"]}'))[0] == 404  # it is not protected
    await protect(ann, id, "clearkey")
    for said in BAD_LICENSES:
        status, words = await ask(studio, folder, said)
        assert status == 400, said
        assert b"kids" in words
    assert (await ask(studio, folder, b'{"kids": ["AAAA"]}'))[0] == 404
    assert (await ask(studio, folder, b" " * 9000))[0] == 413
    assert (await ask(studio, f"/videos/{id}/q", b"{}"))[0] == 404
    assert (await get(studio, f"{folder}/license"))[0] == 404
    async with studio.place.client.options(
        f"{folder}/license", headers={"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "POST"}
    ) as answer:
        assert answer.headers["Access-Control-Allow-Methods"] == "POST, OPTIONS"
        assert answer.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("scheme", ["aes-128", "clearkey"])
async def test_who_may_not_watch_gets_no_key_and_who_may_no_more_within_two_seconds(
    studio: Studio, media: dict[str, bytes], scheme: str
) -> None:
    ann, bob = await studio.person("ann"), await studio.person("bob")
    id = await film(studio, ann, media, Visibility.FOLLOWERS)
    await protect(ann, id, scheme)
    await follow(bob, ann)
    folder = await folder_of(bob, id)
    playlist = (await body(studio, f"{folder}/{RUNG}.m3u8")).decode()
    if scheme == "aes-128":
        (path,) = re.findall(r'URI="([^"]*key)"', playlist)

        async def key(folder: str) -> int:
            return (await get(studio, f"{folder}/{path}"))[0]
    else:
        said = json.dumps({"kids": [b64(kid(playlist))]}).encode()

        async def key(folder: str) -> int:
            return (await ask(studio, folder, said))[0]

    assert await key(folder) == 200
    assert await key(f"/videos/{id}/p") == 403
    # by another process, which tells nobody
    await studio.place.sql("delete from follows where follower_id = $1", UUID(bob.id))
    assert await lost(studio, f"{folder}/index.m3u8") < REVOKED_WITHIN
    assert await key(folder) == 403


async def test_a_change_holds_at_once_and_a_new_key_voids_the_old(studio: Studio, media: dict[str, bytes]) -> None:
    ann, bob = await studio.person("ann"), await studio.person("bob")
    id = await film(studio, ann, media)
    folder = f"/videos/{id}/p"
    await ann.call("POST", f"/api/v1/videos/{id}/key", expect=409)
    plain = await body(studio, f"{folder}/{RUNG}-0.m4s")
    await protect(ann, id, "clearkey")
    first = (await body(studio, f"{folder}/{RUNG}.m3u8")).decode()
    name = re.findall(r"^[^#].*m4s$", first, re.MULTILINE)[0]
    secret = await body(studio, f"{folder}/{name}")
    again = await protect(ann, id, "clearkey")  # nothing new
    assert (await body(studio, f"{folder}/{name}")) == secret
    await bob.call("POST", f"/api/v1/videos/{id}/key", expect=403)
    changed = await ann.call("POST", f"/api/v1/videos/{id}/key")
    assert changed["version"] == again["version"] + 1
    second = (await body(studio, f"{folder}/{RUNG}.m3u8")).decode()
    assert kid(second) != kid(first)
    assert (await get(studio, f"{folder}/{name}"))[0] == 410
    assert (await ask(studio, folder, json.dumps({"kids": [b64(kid(first))]}).encode()))[0] == 404
    renamed = re.findall(r"^[^#].*m4s$", second, re.MULTILINE)[0]
    assert (await body(studio, f"{folder}/{renamed}")) != secret
    await protect(ann, id, "none")
    assert await body(studio, f"{folder}/{RUNG}-0.m4s") == plain
    assert (await get(studio, f"{folder}/{renamed}"))[0] == 410
    assert await body(studio, f"{folder}/{RUNG}.m3u8") == media[f"{RUNG}.m3u8"]
    assert (
        await studio.place.sql("select coalesce(key_id::text, sealed_key::text) from videos where id = $1", UUID(id))
        is None
    )


async def test_what_clear_key_cannot_encrypt_is_said_before_and_after(studio: Studio, media: dict[str, bytes]) -> None:
    ann = await studio.person("ann")
    other = {name: data.replace(b"avc1", b"av01") for name, data in media.items()}
    id = await film(studio, ann, other)
    refused = await ann.call("PUT", f"/api/v1/videos/{id}", {"protection": "clearkey"}, expect=409)
    assert refused["code"] == "cannot_protect"
    assert "aes-128" in refused["detail"]
    await protect(ann, id, "aes-128")
    # chosen before anybody knew what it would be encoded in
    early = await studio.ready(ann)
    await protect(ann, early, "clearkey")
    for name, data in other.items():
        await studio.objects.put(f"videos/{early}/{name}", data, "application/octet-stream")
    for name in ("index.m3u8", f"{await tag(studio, early)}.{RUNG}-init.mp4"):
        status, _, words = await get(studio, f"/videos/{early}/p/{name}")
        assert status == 409, name
        assert b"aes-128" in words


async def tag(studio: Studio, id: str) -> str:
    key_id: UUID = await studio.place.sql("select key_id from videos where id = $1", UUID(id))
    return key_id.hex[16:]


async def test_keys_stay_in_the_server(
    studio: Studio, media: dict[str, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    ann = await studio.person("ann")
    id = await film(studio, ann, media)
    shown = await protect(ann, id, "aes-128")
    key = await body(studio, f"/videos/{id}/p/{await tag(studio, id)}.key")
    sealed = await studio.place.sql("select sealed_key from videos where id = $1", UUID(id))
    assert key not in sealed
    data = VideosData(studio.wiring.database, studio.objects, studio.wiring.jobs, "http://here")
    items = [item async for item in data.export(UUID(ann.id), media=False)]
    exported = b"".join([piece for item in items async for piece in item.content])
    assert id.encode() in exported
    for text in (json.dumps(shown), caplog.text, exported.decode()):
        for form in (key.hex(), b64(key), base64.b64encode(key).decode(), sealed.hex(), repr(key), repr(sealed)):
            assert form not in text
    # with another secret nobody can read it, and that is said
    await studio.place.sql("update videos set sealed_key = sealed_key || '\\x00' where id = $1", UUID(id))
    studio.wiring.rights.doubt(Kind.VIDEO, UUID(id))
    for name in (f"{await tag(studio, id)}.key", f"{await tag(studio, id)}.{RUNG}-1.m4s"):
        status, _, words = await get(studio, f"/videos/{id}/p/{name}")
        assert (status, b"new one" in words) == (409, True)
    await ann.call("POST", f"/api/v1/videos/{id}/key")
    assert len(await body(studio, f"/videos/{id}/p/{await tag(studio, id)}.key")) == 16
    # a seal is of one video and one key
    keys = Keys(studio.wiring.secrets)
    made = keys.make(UUID(int=1), Scheme.CLEARKEY)
    assert made is not None
    assert made.sealed_key.hex() not in repr(made)
    assert keys.open(UUID(int=1), made).id == made.key_id.bytes
    with pytest.raises(BrokenSeal):
        keys.open(UUID(int=2), made)
