"""Profiles, names, preferences, privacy: what they take, who sees them, and what an edit that comes late is told."""

from __future__ import annotations

from typing import Any

import pytest

from server.identity.profile import text
from server.kit.problems import Invalid
from tests.server.identity.privacy.place import PASSWORD, Place

ME = "/api/v1/users/me"


async def test_a_profile_is_edited_and_shown(here: Place) -> None:
    ada = await here.register("ada")
    me = await ada.call("GET", ME)
    assert (me["display_name"], me["bio"], me["avatar"], me["links"]) == ("ada", "", None, [])
    assert me["email"] == ada.email
    given = {
        "display_name": "  Ada\tL. ",
        "bio": "Numbers,\r\n\r\n\r\n\r\nmostly.\u202e\x07",
        "website": "HTTPS://Ada.Example.org/a?b=c#d",
        "location": "London",
        "links": [{"label": "Notes", "url": "https://notes.example.org"}],
    }
    edited = await ada.call("PATCH", ME, given)
    assert edited["display_name"] == "Ada L."
    assert edited["bio"] == "Numbers,\n\nmostly."
    assert edited["website"] == "https://ada.example.org/a?b=c#d"
    assert edited["version"] == me["version"] + 1
    assert await ada.call("GET", ME) == edited
    shown = await here.call("GET", "/api/v1/users/ADA")
    assert {shown[name] for name in ("username", "display_name", "location")} == {"ada", "Ada L.", "London"}
    assert shown["links"] == given["links"]
    assert "email" not in shown
    profile = await ada.call("GET", "/api/v1/auth/profile")
    assert profile["bio"] == "Numbers,\n\nmostly."
    # an edit of one thing leaves the rest; of nothing changes nothing; an empty text takes away
    assert (await ada.call("PATCH", ME, {"bio": ""}))["website"] == edited["website"]
    assert (await ada.call("PATCH", ME, {"bio": ""}))["version"] == edited["version"] + 1
    assert (await ada.call("PATCH", ME, {"display_name": " "}))["display_name"] == "ada"
    assert await here.sql("select count(*) from audit_log where event = 'profile.changed'") == 3


REFUSED: list[dict[str, Any]] = [
    {"website": "javascript:alert(1)"},
    {"website": "data:text/html,<script>"},
    {"website": "https://user:password@example.org/"},
    {"website": "https://example.org@evil.example/"},
    {"website": "https://exa mple.org"},
    {"website": "https://localhost"},
    {"website": "https://"},
    {"website": "//example.org"},
    {"website": "https://example.org:99999/"},
    {"website": "https://[::1"},
    {"website": "https://example.org/\\evil"},
    {"website": "https://a..example.org"},
    {"website": "https://" + "a" * 500 + ".org"},
    {"bio": "x" * 501},
    {"bio": None},
    {"bio": "a\x00b"},
    {"display_name": "x" * 51},
    {"links": [{"label": "x", "url": "ftp://example.org"}]},
    {"links": [{"label": " \t", "url": "https://example.org"}]},
    {"links": [{"label": "x", "url": "https://example.org"}] * 9},
    {"links": [{"label": "x", "url": "https://example.org", "more": 1}]},
    {"roles": ["admin"]},
    {"email": "other@example.org"},
]


async def test_what_a_profile_does_not_take(here: Place) -> None:
    ada = await here.register("ada")
    for given in REFUSED:
        problem = await ada.call("PATCH", ME, given, expect=422)
        assert problem["errors"][0]["path"].startswith("$"), given


def test_hosts_of_other_scripts_are_kept_as_browsers_ask_for_them() -> None:
    assert text.address("https://münchen.example/ü", "$.x") == "https://xn--mnchen-3ya.example/ü"
    with pytest.raises(Invalid):
        text.address("https://\u202eexample.org", "$.x")


async def test_an_edit_that_comes_late_is_told(here: Place) -> None:
    ada = await here.register("ada")
    tag = await etag(here, ada.token, ME)
    await ada.call("PATCH", ME, {"bio": "one"}, headers={"If-Match": tag})
    problem = await ada.call("PATCH", ME, {"bio": "two"}, headers={"If-Match": tag}, expect=412)
    assert problem["code"] == "precondition_failed"
    assert (await ada.call("GET", ME))["bio"] == "one"
    for path, body in ((ME + "/preferences", {"theme": "dark"}), (ME + "/privacy", {"searchable": False})):
        tag = await etag(here, ada.token, path)
        await ada.call("PUT", path, body, headers={"If-Match": tag})
        await ada.call("PUT", path, {}, headers={"If-Match": tag}, expect=412)


async def etag(here: Place, token: str, path: str) -> str:
    async with here.client.get(path, headers={"Authorization": f"Bearer {token}"}) as answer:
        return answer.headers["ETag"]


async def test_a_name_is_changed_and_the_old_one_held(here: Place) -> None:
    ada, bob = await here.register("ada"), await here.register("bob")
    path = ME + "/username"
    assert (await ada.call("PUT", path, {"username": "bob"}, expect=409))["code"] == "username_taken"
    assert (await ada.call("PUT", path, {"username": "BOB"}, expect=409))["code"] == "username_taken"
    assert (await ada.call("PUT", path, {"username": "admin"}, expect=409))["code"] == "username_taken"
    await ada.call("PUT", path, {"username": "a"}, expect=422)
    changed = await ada.call("PUT", path, {"username": "Countess"})
    assert (changed["username"], changed["display_name"]) == ("Countess", "Countess")
    assert changed["username_change_from"]
    await here.call("GET", "/api/v1/users/ada", expect=404)
    assert (await here.call("GET", "/api/v1/users/countess"))["id"] == ada.id
    # nobody else gets the old one: neither by changing his, nor by registering
    assert (await bob.call("PUT", path, {"username": "ADA"}, expect=409))["code"] == "username_taken"
    answer = await here.call(
        "POST", "/api/v1/auth/register",
        {"username": "Ada", "email": "else@example.org", "password": PASSWORD}, expect=409,
    )  # fmt: skip
    assert answer["code"] == "username_taken"
    # the new name shows in tokens that were made before
    assert (await ada.call("GET", "/api/v1/auth/profile"))["username"] == "Countess"
    assert (await ada.call("PUT", path, {"username": "lovelace"}, expect=409))["code"] == "username_changed_lately"
    assert (await ada.call("PUT", path, {"username": "COUNTESS"}))["username"] == "COUNTESS"
    # its owner may go back to it, once he may change again
    await here.sql("update profiles set username_changed_at = now() - interval '31 days'")
    assert (await ada.call("PUT", path, {"username": "ada"}))["username"] == "ada"
    # after its time a held name is free
    await here.sql("update held_usernames set until = now() - interval '1 second'")
    await here.wiring.people.profiles.release_usernames()
    assert await here.sql("select count(*) from held_usernames") == 0
    assert (await bob.call("PUT", path, {"username": "countess"}))["username"] == "countess"


async def test_preferences_are_typed(here: Place) -> None:
    ada = await here.register("ada")
    path = ME + "/preferences"
    assert (await ada.call("GET", path))["emails"]["security"] == "always"
    given = {
        "locale": "pt-BR", "time_zone": "America/Sao_Paulo", "theme": "dark", "captions": True,
        "emails": {"digest": "daily"},
    }  # fmt: skip
    set_ = await ada.call("PUT", path, given)
    assert (set_["locale"], set_["emails"]["digest"], set_["emails"]["live"]) == ("pt-BR", "daily", True)
    assert await ada.call("GET", path) == set_
    for wrong in (
        {"emails": {"security": "never"}},
        {"emails": {"security": False}},
        {"time_zone": "Mars/Olympus"},
        {"time_zone": "../../etc/passwd"},
        {"locale": "not a language"},
        {"theme": "pink"},
        {"font": "large"},
    ):
        await ada.call("PUT", path, wrong, expect=422)
    # what another release has written is read as far as it is understood
    await here.sql("""update profiles set preferences = '{"theme": "sepia", "locale": "de", "later": {"x": 1}}'""")
    read = await ada.call("GET", path)
    assert (read["theme"], read["locale"]) == ("system", "de")


async def test_who_sees_a_profile(here: Place) -> None:
    ada, bob, eve = [await here.register(name) for name in ("ada", "bob", "eve")]
    await here.sql("update users set roles = '{moderator}' where username = 'eve'")
    eve.token = (await here.sign_in("eve"))["access_token"]
    await ada.call("PATCH", ME, {"bio": "mine", "location": "here"})
    assert (await here.call("GET", "/api/v1/users/ada"))["bio"] == "mine"

    await bob.call("POST", "/api/v1/follows/follow", {"user_id": ada.id})
    for profile, allowed in (("followers", {ada.token, bob.token, eve.token}), ("private", {ada.token, eve.token})):
        await ada.call("PUT", ME + "/privacy", {"profile": profile})
        for token in ("", ada.token, bob.token, eve.token):
            shown = await here.call("GET", "/api/v1/users/ada", token=token)
            assert shown["limited"] is (token not in allowed)
            assert (shown["bio"] == "mine") is (token in allowed)
            assert (shown["location"] == "here") is (token in allowed)
            assert (shown["created_at"] is not None) is (token in allowed)
            assert shown["username"] == "ada"
    for wrong in ({"profile": "friends"}, {"messages_from": "enemies"}, {"searchable": 1}, {"other": True}):
        await ada.call("PUT", ME + "/privacy", wrong, expect=422)
    await here.sql("update users set disabled_at = now() where username = 'ada'")
    assert (await here.call("GET", "/api/v1/users/ada", expect=404))["code"] == "no_such_person"
    for odd in ("nobody-here", "%00", "a" * 500, "..%2f..%2fetc", "ada%20or%201=1"):
        await here.call("GET", f"/api/v1/users/{odd}", expect=404)
