"""What people do with videos: look, find, edit, like, schedule, delete."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

from tests.server.identity.privacy.place import picture
from tests.server.streaming.videos.conftest import Studio
from tests.support import eventually


def _in(**ahead: float) -> str:
    return (datetime.now(UTC) + timedelta(**ahead)).isoformat()


async def test_what_others_see_of_a_video(studio: Studio) -> None:
    ada, bob = await studio.person("ada"), await studio.person("bob")
    ready = await studio.ready(ada, "A film", description="0:00 Begin\n1:00 - Middle\n")
    coming = await studio.begin(ada, "Not here yet")
    private = await studio.ready(ada, "Mine alone", visibility="private")
    unlisted = await studio.ready(ada, "By address", visibility="unlisted")

    seen = await bob.call("GET", f"/api/v1/videos/{ready}")
    assert seen["state"] == "ready"
    assert seen["owner"] == {"id": ada.id, "username": "ada"}
    assert seen["playback"]["hls"].endswith(f"/videos/{ready}/p/index.m3u8")
    assert seen["thumbnail"].endswith(f"/videos/{ready}/p/thumb-1.jpg")
    assert seen["storyboard"].endswith("/p/story.vtt")
    assert seen["chapters"] == [{"start": 0, "title": "Begin"}, {"start": 60, "title": "Middle"}]
    assert [seen[name] for name in ("facts", "events", "thumbnails", "source_bytes", "channel", "error")] == [None] * 6
    assert (await ada.call("GET", f"/api/v1/videos/{ready}"))["source_bytes"] == 1000
    assert (await studio.place.call("GET", f"/api/v1/videos/{ready}"))["liked"] is None
    assert (await bob.call("GET", f"/api/v1/videos/{unlisted}"))["title"] == "By address"
    for hidden in (coming, private):
        assert (await bob.call("GET", f"/api/v1/videos/{hidden}", expect=404))["code"] == "no_such_video"
        await bob.call("POST", f"/api/v1/videos/{hidden}/like", expect=404)
        await bob.call("PUT", f"/api/v1/videos/{hidden}", {"title": "Mine"}, expect=404)
        assert (await ada.call("GET", f"/api/v1/videos/{hidden}"))["id"] == hidden
    await bob.call("PUT", f"/api/v1/videos/{ready}", {"title": "Mine"}, expect=403)
    await bob.call("DELETE", f"/api/v1/videos/{ready}", expect=403)

    mine = await ada.call("GET", "/api/v1/videos/mine?limit=3")
    assert [one["id"] for one in mine["items"]] == [unlisted, private, coming]
    rest = await ada.call("GET", f"/api/v1/videos/mine?limit=3&cursor={mine['next_cursor']}")
    assert [one["id"] for one in rest["items"]] == [ready]
    assert (await bob.call("GET", "/api/v1/videos/mine"))["items"] == []


async def test_the_feed_has_what_everybody_may_see_newest_first(studio: Studio) -> None:
    ada = await studio.person("ada")
    listed = [await studio.ready(ada, f"Film {number}") for number in range(5)]
    await studio.ready(ada, "Unlisted", visibility="unlisted")
    await studio.ready(ada, "Followers", visibility="followers")
    await studio.begin(ada, "Uploading")
    found: list[str] = []
    cursor = ""
    for _ in range(3):
        page = await studio.place.call("GET", f"/api/v1/videos/feed?limit=2{cursor}")
        found += [one["id"] for one in page["items"]]
        cursor = f"&cursor={page['next_cursor']}"
    assert found == listed[::-1]
    assert page["next_cursor"] is None
    await studio.place.call("GET", "/api/v1/videos/feed?cursor=made-up", expect=400)


async def test_search(studio: Studio) -> None:
    ada = await studio.person("ada")
    told = await studio.ready(ada, "A walk", description="We look for mushrooms in the forest")
    titled = await studio.ready(ada, "Mushrooms of the forest")
    await studio.ready(ada, "Mushrooms at home", visibility="unlisted")
    odd = await studio.ready(ada, "C++ and 100% e-mail")

    async def found(words: str) -> list[str]:
        page = await studio.place.call("GET", "/api/v1/videos/search", params={"q": words})
        return [one["id"] for one in page["items"]]

    assert await found("mushrooms forest") == [titled, told]  # a title counts more
    assert await found("forest mushr") == [titled, told]  # the last word may be a beginning
    assert await found("mushr forest") == []  # the others may not
    assert await found("MUSHROOMS home") == []
    assert await found("e-mail") == [odd]
    for hostile in ("' | ':*", "a & | ! (", "it's \\", "<->", "wal'k:*A"):
        assert titled not in await found(hostile)  # operators are text, and no error
    first = await studio.place.call("GET", "/api/v1/videos/search?q=mushrooms&limit=1")
    assert [one["id"] for one in first["items"]] == [titled]
    second = await studio.place.call("GET", f"/api/v1/videos/search?q=mushrooms&limit=1&cursor={first['next_cursor']}")
    assert [one["id"] for one in second["items"]] == [told]
    assert second["next_cursor"] is None


async def test_an_edit_changes_what_is_sent_and_what_was_read(studio: Studio) -> None:
    ada = await studio.person("ada")
    id = await studio.ready(ada)
    path = f"/api/v1/videos/{id}"
    before = await ada.call("GET", path)
    body = {"title": "Another", "chapters": [{"start": 0, "title": "All"}], "thumbnail": "thumb-0.jpg"}
    after = await ada.call("PUT", path, body, headers={"If-Match": f'"{before["version"]}"'})
    assert (after["title"], after["description"], after["version"]) == ("Another", "", before["version"] + 1)
    assert after["thumbnail"].endswith("/thumb-0.jpg")
    assert after["chapters"] == [{"start": 0, "title": "All"}]
    await ada.call("PUT", path, {"title": "Late"}, headers={"If-Match": f'"{before["version"]}"'}, expect=412)
    wrong = [
        ({"thumbnail": "source"}, "no_such_thumbnail"),
        ({"chapters": [{"start": 5, "title": "Late"}]}, "bad_chapters"),
        ({"chapters": [{"start": 0, "title": "A"}, {"start": 0, "title": "B"}]}, "bad_chapters"),
        ({"chapters": [{"start": 0, "title": "A"}, {"start": 100, "title": "After the end"}]}, "bad_chapters"),
        ({"publish_at": "2020-01-01T00:00:00"}, "invalid_request"),
        ({"publish_at": "9999-12-31T23:59:59-23:59"}, "invalid_request"),
        ({"visibility": "everybody"}, "invalid_request"),
        ({"state": "ready"}, "invalid_request"),
    ]
    for body, code in wrong:
        assert (await ada.call("PUT", path, body, expect=422))["code"] == code, body
    again = await ada.call("PUT", path, {"chapters": None, "description": "0:00 One\n0:30 Two"})
    assert [one["title"] for one in again["chapters"]] == ["One", "Two"]


async def test_likes_are_counted_once_for_each_person(studio: Studio) -> None:
    people = [await studio.person(f"person{number}") for number in range(6)]
    id = await studio.ready(people[0])
    path = f"/api/v1/videos/{id}/like"
    await asyncio.gather(*(person.call("POST", path) for person in people * 3))
    assert (await people[0].call("GET", f"/api/v1/videos/{id}"))["likes"] == 6
    await asyncio.gather(*(person.call("DELETE", path) for person in people[:4] * 3))
    assert await people[5].call("POST", path) == {"likes": 2, "liked": True}
    assert (await people[0].call("GET", f"/api/v1/videos/{id}"))["liked"] is False
    await studio.place.call("POST", path, expect=401)


async def test_a_scheduled_video_appears_at_its_time(studio: Studio) -> None:
    ada, bob = await studio.person("ada"), await studio.person("bob")
    at = datetime.now(UTC) + timedelta(days=2)
    id = await studio.ready(ada, publish_at=at)
    path = f"/api/v1/videos/{id}"
    await bob.call("GET", path, expect=404)
    assert await studio.wiring.vod.videos.publish_due() == 0
    await studio.place.sql("update videos set publish_at = now() - interval '1 second' where id = $1", UUID(id))
    assert await studio.wiring.vod.videos.publish_due() == 1
    seen = await bob.call("GET", path)
    assert seen["published_at"] is not None
    events = (await ada.call("GET", path))["events"]
    assert [(one["kind"], one["detail"]) for one in events] == [("published", "as scheduled")]
    body = {"publish_at": _in(days=3)}
    assert (await ada.call("PUT", path, body, expect=409))["code"] == "already_published"
    other = await studio.ready(ada, publish_at=at)
    assert (await ada.call("PUT", f"/api/v1/videos/{other}", {"publish_at": None}))["published_at"] is not None
    await bob.call("GET", f"/api/v1/videos/{other}")


async def test_a_deleted_video_leaves_no_object(studio: Studio) -> None:
    ada = await studio.person("ada")
    id, other = await studio.ready(ada), await studio.ready(ada)
    for name in ("source", "index.m3u8", "v-240p-0.m4s"):
        await studio.objects.put(f"videos/{id}/{name}", b"x", "video/mp4")
        await studio.objects.put(f"videos/{other}/{name}", b"x", "video/mp4")
    gone = await ada.call("DELETE", f"/api/v1/videos/{id}")
    assert gone == {"id": id, "freed_bytes": 1500}
    await ada.call("GET", f"/api/v1/videos/{id}", expect=404)

    async def empty() -> bool:
        return not await studio.names(id)

    await eventually(empty, what="its objects are gone")
    assert len(await studio.names(other)) == 3
    log = await studio.place.sql("select count(*) from audit_log where event = 'video.deleted'")
    assert log == 1


async def test_captions(studio: Studio) -> None:
    ada, bob = await studio.person("ada"), await studio.person("bob")
    id = await studio.ready(ada)
    path = f"/api/v1/videos/{id}/captions"
    srt = "1\r\n00:00:01,000 --> 00:00:02,500\r\n<b>Hello</b> <script>x</script> & all\r\n"
    made = await ada.call("PUT", f"{path}/EN-gb", {"text": srt, "label": "English"})
    assert made["language"] == "en-GB"
    assert made["text"] == (
        "WEBVTT\n\n00:00:01.000 --> 00:00:02.500\n<b>Hello</b> &lt;script&gt;x&lt;/script&gt; &amp; all\n"
    )
    assert await ada.call("GET", f"{path}/en-GB") == made
    seen = await bob.call("GET", f"/api/v1/videos/{id}")
    url = seen["captions"][0].pop("url")
    assert url.endswith(f"/videos/{id}/p/text-en-GB.vtt")
    assert seen["captions"] == [{"language": "en-GB", "label": "English", "cues": 1}]
    assert (await ada.call("PUT", f"{path}/de", {"text": "nothing"}, expect=422))["code"] == "bad_captions"
    assert (await ada.call("PUT", f"{path}/..", {"text": srt}, expect=404)) is not None
    assert (await ada.call("PUT", f"{path}/english", {"text": srt}, expect=422))["code"] == "bad_language"
    await bob.call("PUT", f"{path}/de", {"text": srt}, expect=403)
    await bob.call("GET", f"{path}/en-GB", expect=403)
    await ada.call("DELETE", f"{path}/en-GB", expect=204)
    assert (await ada.call("DELETE", f"{path}/en-GB", expect=404))["code"] == "no_such_captions"
    assert (await bob.call("GET", f"/api/v1/videos/{id}"))["captions"] == []


async def test_a_picture_of_ones_own(studio: Studio) -> None:
    ada, bob = await studio.person("ada"), await studio.person("bob")
    id = await studio.ready(ada)

    async def put(data: bytes, *, token: str = ada.token, expect: int = 200) -> dict[str, str]:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "image/png"}
        async with studio.place.client.put(f"/api/v1/videos/{id}/thumbnail", data=data, headers=headers) as answer:
            assert answer.status == expect, await answer.text()
            return await answer.json()

    first = await put(picture())
    name = first["thumbnail"].rpartition("/")[2]
    assert (await studio.objects.get(f"videos/{id}/{name}") or b"")[8:12] == b"WEBP"
    second = await put(picture((3, 3, 3)))
    assert second["thumbnail"] != first["thumbnail"]
    assert await studio.objects.get(f"videos/{id}/{name}") is None  # the old one is nobody's
    await put(b"<svg/>", expect=422)
    await put(picture(), token=bob.token, expect=403)
    back = await ada.call("PUT", f"/api/v1/videos/{id}", {"thumbnail": "thumb-0.jpg"})
    assert back["thumbnail"].endswith("/thumb-0.jpg")
