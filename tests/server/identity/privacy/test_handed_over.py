"""An account whose address was never verified passes to who reads that address: nothing of the one before opens it."""

from __future__ import annotations

from tests.server.identity.privacy.place import Place
from tests.server.identity.privacy.test_leaving import live


async def test_what_the_one_before_laid_up_opens_nothing(here: Place) -> None:
    squatter = await here.register("squatter", email="ada@mail.example.org", verified=False)
    await squatter.call("POST", "/api/v1/live/key")
    key = await squatter.call("POST", "/api/v1/keys", {"name": "mine", "scopes": ["live:write"]}, expect=201)
    broadcast = await live(squatter, "Mine")
    await here.idle()
    await here.call("POST", "/api/v1/auth/reset-password", {"email": "ada@mail.example.org"}, expect=202)
    await here.idle()
    link = {"token": here.token("ada@mail.example.org", "reset"), "password": "what only ada knows"}
    await here.call("POST", "/api/v1/auth/reset-password/confirm", link, expect=204)

    signed_in = {"email": "ada@mail.example.org", "password": "what only ada knows"}
    token = (await here.call("POST", "/api/v1/auth/login", signed_in))["access_token"]
    assert (await here.call("GET", "/api/v1/live/key", token=token))["exists"] is False
    assert await here.sql("select state from broadcasts where id = $1", broadcast) == "ended"
    for old in (squatter.token, key["secret"]):
        await here.call("GET", "/api/v1/live/key", token=old, expect=401)
