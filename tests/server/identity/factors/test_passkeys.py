"""Passkeys: added, named, removed, alone and as the second factor; and what does not pass for one."""

from __future__ import annotations

import asyncio
import base64
import copy
import json
import os
import uuid
from collections.abc import Callable
from typing import Any

import cbor2
import pytest

from server.identity.factors import passkeys, tickets
from server.identity.service import Identity
from server.kit.clock import now
from storage.postgres import Database
from tests.fakes.authenticator import EDDSA, ES256, RS256, Authenticator, base64url, new_key, plain
from tests.server.identity.factors.stack import ORIGIN, RP_ID, Clock, Person, by_passkey, person, send, serve_factors
from tests.server.identity.stack import PASSWORD, Client, Events, Mailbox, bearer


@pytest.mark.parametrize(("algorithm", "counts"), [(ES256, True), (EDDSA, False), (RS256, True)])
async def test_a_passkey_is_added_and_signs_in_alone(
    ada: Person, algorithm: int, counts: bool, events: Events, mailbox: Mailbox
) -> None:
    keys = [await asyncio.to_thread(new_key, algorithm)]  # one of RSA takes its time
    device = Authenticator(ORIGIN, algorithm=algorithm, counts=counts, synced=not counts, keys=keys)
    added = await ada.with_passkey(device, "Ada's phone")
    assert (added["passkey"]["name"], added["passkey"]["synced"]) == ("Ada's phone", not counts)
    assert added["passkey"]["transports"] == ["internal", "hybrid"]
    assert len(added["recovery_codes"]) == 10
    for _ in range(2):
        status, signed_in = await by_passkey(ada.client, device)
        assert (status, signed_in["user"]["username"]) == (200, "ada"), signed_in
    assert (await ada.client.get("/api/v1/auth/profile", headers=bearer(signed_in["access_token"]))).status == 200
    assert [line[2]["methods"] for line in events.lines if line[1] == "account.signed_in"][-1] == ["passkey"]
    assert "passkey.added" in events.of(ada.id)
    assert [mail.values["what"] for mail in mailbox.sent if mail.template == "factor_changed"] == [
        "A passkey was added"
    ]
    _, listed = await ada.call("GET", "/passkeys")
    assert listed["items"][0]["last_used_at"] is not None


async def test_what_the_browser_is_asked_for(ada: Person, device: Authenticator) -> None:
    asked = (await ada.post("/passkeys/options"))["public_key"]
    assert asked["rp"] == {"id": RP_ID, "name": "Social Flow"}
    assert plain(asked["user"]["id"]) == uuid.UUID(ada.id).bytes
    assert asked["authenticatorSelection"]["residentKey"] == "required"
    assert asked["authenticatorSelection"]["userVerification"] == "required"
    assert asked["attestation"] == "none"
    assert len(plain(asked["challenge"])) == 32
    await ada.with_passkey(device)
    again = (await ada.post("/passkeys/options"))["public_key"]
    assert [plain(known["id"]) for known in again["excludeCredentials"]] == [device.credentials[0].id]
    with pytest.raises(ValueError, match="InvalidStateError"):
        device.create(again)
    _, anybody = await send(ada.client, "/login/passkey/options", {})
    assert (anybody["public_key"]["rpId"], anybody["public_key"]["userVerification"]) == (RP_ID, "required")
    assert anybody["public_key"].get("allowCredentials", []) == []


async def test_a_passkey_as_the_second_factor(ada: Person, device: Authenticator, events: Events) -> None:
    await ada.with_passkey(device)
    problem = await ada.begin()
    assert problem["factors"] == ["passkey", "recovery"]
    _, options = await send(ada.client, "/login/second-factor/options", {"challenge": problem["challenge"]})
    assert [plain(known["id"]) for known in options["public_key"]["allowCredentials"]] == [device.credentials[0].id]
    body = {"challenge": problem["challenge"], "passkey": device.get(options["public_key"])}
    status, signed_in = await send(ada.client, "/login/second-factor", body)
    assert (status, signed_in["user"]["username"]) == (200, "ada")
    assert [line[2]["methods"] for line in events.lines if line[1] == "account.signed_in"][-1] == ["pwd", "passkey"]
    status, again = await send(ada.client, "/login/second-factor", body)
    assert (status, again["code"]) == (401, "bad_challenge")


async def test_names_and_removal(ada: Person, device: Authenticator, events: Events) -> None:
    first = (await ada.with_passkey(device))["passkey"]
    second = await ada.with_passkey(Authenticator(ORIGIN))
    assert (first["name"], second["passkey"]["name"], second["recovery_codes"]) == ("Passkey 1", "Passkey 2", None)
    status, named = await ada.call("PATCH", f"/passkeys/{first['id']}", {"name": " Blue\n key \u0007"})
    assert (status, named["name"]) == (200, "Blue key")
    assert [key["name"] for key in (await ada.call("GET", "/passkeys"))[1]["items"]] == ["Blue key", "Passkey 2"]
    for one in (first, second["passkey"]):
        assert (await ada.call("DELETE", f"/passkeys/{one['id']}"))[0] == 204
    assert (await ada.call("DELETE", f"/passkeys/{first['id']}"))[0] == 404
    assert (await ada.call("GET", "/factors"))[1]["recovery_codes_left"] == 0
    assert (await send(ada.client, "/login", {"email": "ada", "password": PASSWORD}))[0] == 200
    status, body = await by_passkey_of(ada.client, device)
    assert (status, body["code"]) == (401, "wrong_factor")
    assert events.of(ada.id).count("passkey.removed") == 2


async def test_another_accounts_passkeys_are_out_of_reach(ada: Person, client: Client, device: Authenticator) -> None:
    mine = (await ada.with_passkey(device))["passkey"]["id"]
    eve = await person(client, "eve")
    assert (await eve.call("PATCH", f"/passkeys/{mine}", {"name": "Eve's"}))[0] == 404
    assert (await eve.call("DELETE", f"/passkeys/{mine}"))[0] == 404
    assert (await eve.call("GET", "/passkeys"))[1] == {"items": []}
    assert [key["name"] for key in (await ada.call("GET", "/passkeys"))[1]["items"]] == ["Passkey 1"]


async def test_the_last_way_in_stays(ada: Person, device: Authenticator, database: Database) -> None:
    only = (await ada.with_passkey(device))["passkey"]["id"]
    async with database.acquire() as connection:
        await connection.execute("update users set password_hash = '' where username = 'ada'")
    status, body = await ada.call("DELETE", f"/passkeys/{only}")
    assert (status, body["code"]) == (409, "last_way_in")
    other = await ada.with_passkey(Authenticator(ORIGIN))
    answers = await asyncio.gather(*(ada.call("DELETE", f"/passkeys/{id}") for id in (only, other["passkey"]["id"])))
    assert sorted(status for status, _ in answers) == [204, 409]
    assert len((await ada.call("GET", "/passkeys"))[1]["items"]) == 1


async def test_so_many_and_no_more(ada: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passkeys, "LIMIT", 2)
    waiting = [await ada.post("/passkeys/options") for _ in range(4)]
    made = [Authenticator(ORIGIN).create(one["public_key"]) for one in waiting]
    answers = await asyncio.gather(
        *(
            ada.call("POST", "/passkeys", {"challenge": options["challenge"], "passkey": passkey})
            for options, passkey in zip(waiting, made, strict=True)
        )
    )
    assert sorted(status for status, _ in answers) == [201, 201, 409, 409]
    assert (await ada.post("/passkeys/options", status=409))["code"] == "factor_conflict"


# what does not pass


def lies(**how: Any) -> Callable[[Authenticator], None]:
    def tell(device: Authenticator) -> None:
        for name, value in how.items():
            setattr(device, name, value)

    return tell


LIES = {
    "another site": lies(origin="https://live.example.org.evil.example"),
    "a site beside ours": lies(origin="https://other.example.org"),
    "without encryption": lies(origin="http://live.example.org"),
    "another port": lies(origin="https://live.example.org:8443"),
    "localhost": lies(origin="http://localhost:8080"),
    "another domain's passkey": lies(rp_id="evil.example"),
    "nobody verified": lies(verified=False),
    "nobody there": lies(present=False, verified=True),
    "in another site's frame": lies(cross_origin=True),
}


async def test_lies(ada: Person) -> None:
    for name, lie in LIES.items():
        device = Authenticator(ORIGIN)
        added = await ada.with_passkey(device)
        lie(device)
        status, body = await by_passkey_of(ada.client, device)
        assert (status, body["code"]) == (401, "wrong_factor"), name
        options = await ada.post("/passkeys/options")
        other = Authenticator(ORIGIN)
        lie(other)
        made = other.create(options["public_key"])
        status, body = await ada.call("POST", "/passkeys", {"challenge": options["challenge"], "passkey": made})
        assert (status, body["code"]) == (409, "bad_passkey"), name
        assert (await ada.call("DELETE", f"/passkeys/{added['passkey']['id']}"))[0] == 204


async def test_an_answer_is_good_once(ada: Person, device: Authenticator) -> None:
    device.counts = False  # not the counter alone may stand against it
    await ada.with_passkey(device)
    _, options = await send(ada.client, "/login/passkey/options", {})
    body = {"challenge": options["challenge"], "passkey": device.get(options["public_key"])}
    answers = await asyncio.gather(*(send(ada.client, "/login/passkey", body) for _ in range(4)))
    assert sorted(status for status, _ in answers) == [200, 401, 401, 401]
    assert (await send(ada.client, "/login/passkey", body))[1]["code"] == "bad_challenge"
    # nor does the answer to one challenge fit another
    _, fresh = await send(ada.client, "/login/passkey/options", {})
    status, refused = await send(ada.client, "/login/passkey", {**body, "challenge": fresh["challenge"]})
    assert (status, refused["code"]) == (401, "wrong_factor")


async def test_a_counter_that_goes_back(ada: Person, device: Authenticator, events: Events, mailbox: Mailbox) -> None:
    await ada.with_passkey(device)
    copied = copy.deepcopy(device)
    for _ in range(3):
        assert (await by_passkey(ada.client, device))[0] == 200
    status, body = await by_passkey(ada.client, copied)
    assert (status, body["code"]) == (401, "wrong_factor")
    assert "passkey.cloned" in events.of(ada.id)
    assert [mail.template for mail in mailbox.to("ada@example.org")][-1] == "second_factor_refused"
    device.counts = False
    device.credentials[0].count = 0  # a counter does not stop being one either
    assert (await by_passkey(ada.client, device))[0] == 401


async def test_challenges_are_for_one_account_one_session_and_one_purpose(
    ada: Person, client: Client, device: Authenticator
) -> None:
    await ada.with_passkey(device)
    eve = await person(client, "eve")
    hers = Authenticator(ORIGIN)
    await eve.with_passkey(hers)

    options = await ada.post("/passkeys/options")
    made = Authenticator(ORIGIN).create(options["public_key"])
    status, body = await eve.call("POST", "/passkeys", {"challenge": options["challenge"], "passkey": made})
    assert (status, body["code"]) == (401, "bad_challenge")
    _, again = await by_passkey(client, device)  # another session of the same account
    status, body = await send(
        client, "/passkeys", {"challenge": options["challenge"], "passkey": made}, again["access_token"]
    )
    assert (status, body["code"]) == (401, "bad_challenge")

    # eve's passkey does not complete ada's sign-in, whatever it says of its owner
    problem = await ada.begin()
    _, request = await send(client, "/login/second-factor/options", {"challenge": problem["challenge"]})
    for handle in (uuid.UUID(eve.id).bytes, uuid.UUID(ada.id).bytes):
        hers.credentials[0].user_handle = handle
        answer = hers.get(request["public_key"], hers.credentials[0])
        status, body = await send(
            client, "/login/second-factor", {"challenge": problem["challenge"], "passkey": answer}
        )
        assert (status, body["code"]) == (401, "wrong_factor")
    # and signs eve in, or nobody
    hers.credentials[0].user_handle = uuid.UUID(ada.id).bytes
    assert (await by_passkey(client, hers))[0] == 401

    # a challenge for signing in alone completes nothing, and the other way round
    _, alone = await send(client, "/login/passkey/options", {})
    answer = device.get(alone["public_key"])
    status, body = await send(client, "/login/second-factor", {"challenge": alone["challenge"], "passkey": answer})
    assert (status, body["code"]) == (401, "bad_challenge")
    answer = device.get(request["public_key"])
    status, body = await send(client, "/login/passkey", {"challenge": problem["challenge"], "passkey": answer})
    assert (status, body["code"]) == (401, "bad_challenge")


async def test_old_and_made_up_challenges(ada: Person, device: Authenticator, monkeypatch: pytest.MonkeyPatch) -> None:
    await ada.with_passkey(device)
    _, options = await send(ada.client, "/login/passkey/options", {})
    answer = device.get(options["public_key"])
    sealed = bytearray(plain(options["challenge"]))
    sealed[-1] ^= 1
    for text in (base64url(bytes(sealed)), base64url(os.urandom(90)), "é", "====", "a", "A" * 2048):
        status, body = await send(ada.client, "/login/passkey", {"challenge": text, "passkey": answer})
        assert (status, body["code"]) == (401, "bad_challenge")
    monkeypatch.setattr(tickets, "now", lambda: now() + tickets.LIFE)
    status, body = await send(ada.client, "/login/passkey", {"challenge": options["challenge"], "passkey": answer})
    assert (status, body["code"]) == (401, "bad_challenge")


def _nested(depth: int) -> bytes:
    return b"\x81" * depth + b"\x00"


def _with_data(change: Callable[[bytes], bytes]) -> Callable[[dict[str, Any]], None]:
    def damage(made: dict[str, Any]) -> None:
        given = cbor2.loads(plain(made["response"]["attestationObject"]))
        given["authData"] = change(given["authData"])
        made["response"]["attestationObject"] = base64url(cbor2.dumps(given))

    return damage


def _attestation(data: bytes) -> Callable[[dict[str, Any]], None]:
    return lambda made: made["response"].update(attestationObject=base64url(data))


def _huge_key(data: bytes) -> bytes:
    """An RSA key of 16,000 bits: every use of it would cost dearly."""
    key = cbor2.dumps({1: 3, 3: RS256, -1: b"\xff" * 2000, -2: b"\x01\x00\x01"})
    return data[: 37 + 16 + 2 + 32] + key


DAMAGE: dict[str, Callable[[dict[str, Any]], None]] = {
    "no cbor": _attestation(b"\xff\x00"),
    "empty": _attestation(b"\xa0"),
    "deep": _attestation(_nested(8000)),
    "deep inside": _attestation(cbor2.dumps({"fmt": "none"})[:-1] + _nested(300)),
    "data is a number": _attestation(cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": 7})),
    "cut": _with_data(lambda data: data[:60]),
    "long": _with_data(lambda data: data + b"\x00" * 40),
    "no key": _with_data(lambda data: data[:87]),
    "a key of nothing": _with_data(lambda data: data[:87] + cbor2.dumps({})),
    "an unknown algorithm": _with_data(lambda data: data[:87] + cbor2.dumps({1: 2, 3: -999})),
    "a huge key": _with_data(_huge_key),
    "client data is a list": lambda made: made["response"].update(clientDataJSON=base64url(b"[1]")),
    "client data is deep": lambda made: made["response"].update(clientDataJSON=base64url(b"[" * 12000)),
    "client data of numbers": lambda made: made["response"].update(
        clientDataJSON=base64url(json.dumps({"type": 1, "challenge": 2, "origin": 3}).encode())
    ),
    "no base64": lambda made: made["response"].update(clientDataJSON="%%%"),
    "another id": lambda made: made.update(id="AAAA", rawId="AAAA"),
    "two ids": lambda made: made.update(id="AAAA"),
    "another type": lambda made: made.update(type="password"),
}


async def test_damaged_registrations(ada: Person) -> None:
    options = await ada.post("/passkeys/options")
    good = Authenticator(ORIGIN).create(options["public_key"])
    for name, damage in DAMAGE.items():
        damage(made := copy.deepcopy(good))
        status, body = await ada.call("POST", "/passkeys", {"challenge": options["challenge"], "passkey": made})
        assert (status, body["code"]) == (409, "bad_passkey"), name
    assert (await ada.call("GET", "/passkeys"))[1] == {"items": []}
    await ada.post("/passkeys", {"challenge": options["challenge"], "passkey": good}, 201)


async def test_damaged_answers(ada: Person, device: Authenticator) -> None:
    await ada.with_passkey(device)
    _, options = await send(ada.client, "/login/passkey/options", {})
    good = device.get(options["public_key"])
    for member in ("clientDataJSON", "authenticatorData", "signature", "userHandle"):
        for text in ("AAAA", "%%%", "é", base64.b64encode(os.urandom(64)).decode(), base64url(b"[" * 9000)):
            if member == "userHandle" and len(text) > 128:
                continue
            bad = {**good, "response": {**good["response"], member: text}}
            status, body = await send(ada.client, "/login/passkey", {"challenge": options["challenge"], "passkey": bad})
            assert (status, body["code"]) == (401, "wrong_factor"), (member, text)
    del (nameless := copy.deepcopy(good))["response"]["userHandle"]
    status, body = await send(ada.client, "/login/passkey", {"challenge": options["challenge"], "passkey": nameless})
    assert status == 401  # a passkey that signs in alone says whose it is
    status, _ = await send(ada.client, "/login/passkey", {"challenge": options["challenge"], "passkey": good})
    assert status == 200


async def test_one_credential_is_one_accounts(ada: Person, client: Client, device: Authenticator) -> None:
    await ada.with_passkey(device)
    eve = await person(client, "eve")
    options = await eve.post("/passkeys/options")
    mine, device.credentials = device.credentials[0], []
    made = device.create(options["public_key"])
    given = cbor2.loads(plain(made["response"]["attestationObject"]))
    given["authData"] = given["authData"].replace(plain(made["id"]), mine.id)
    made["response"]["attestationObject"] = base64url(cbor2.dumps(given))
    made["id"] = made["rawId"] = base64url(mine.id)
    status, body = await eve.call("POST", "/passkeys", {"challenge": options["challenge"], "passkey": made})
    assert (status, body["code"]) == (409, "bad_passkey")
    device.credentials = [mine]
    assert (await by_passkey(client, device))[1]["user"]["username"] == "ada"


async def test_other_origins_by_setting(
    identity: Identity, database: Database, mailbox: Mailbox, events: Events
) -> None:
    app = "android:apk-key-hash:Z1Gd5WxDcbBwrZ2pIGJeUrlMpbTMVgYVGxPYTBhVrPs"
    settings = {"passkey_rp_id": "example.org", "passkey_origins": f"https://studio.example.org/, {app}"}
    async with serve_factors(identity, database, mailbox, events, **settings) as client:
        ada = await person(client, "ada")
        device = Authenticator(ORIGIN)
        await ada.with_passkey(device)
        assert device.credentials[0].rp_id == "example.org"
        for origin, status in (
            ("https://studio.example.org", 200),
            (app, 200),
            ("https://example.org", 401),
            ("https://blog.example.org", 401),
        ):
            device.origin = origin
            assert (await by_passkey(client, device))[0] == status, origin


async def test_localhost_for_development(
    identity: Identity, database: Database, mailbox: Mailbox, events: Events
) -> None:
    async with serve_factors(identity, database, mailbox, events, public_url="") as client:
        ada = await person(client, "ada")
        device = Authenticator("http://localhost:53124")  # whichever port was free
        await ada.with_passkey(device)
        for origin, status in (
            ("http://localhost:4711", 200),
            ("http://localhost.evil.example", 401),
            ("http://localhost@evil.example", 401),
            ("http://127.0.0.1:8080", 401),
        ):
            device.origin = origin
            assert (await by_passkey(client, device))[0] == status, origin


async def test_an_address_without_a_name_has_no_passkeys(
    identity: Identity, database: Database, mailbox: Mailbox, events: Events
) -> None:
    async with serve_factors(identity, database, mailbox, events, public_url="http://192.0.2.7:8080") as client:
        ada = await person(client, "ada")
        assert (await ada.post("/passkeys/options", status=409))["code"] == "passkeys_unavailable"
        status, body = await send(client, "/login/passkey/options", {})
        assert (status, body["code"]) == (409, "passkeys_unavailable")


async def test_a_disabled_account(ada: Person, device: Authenticator, clock: Clock, database: Database) -> None:
    await ada.with_passkey(device)
    await ada.with_totp(clock)
    problem = await ada.begin()
    async with database.acquire() as connection:
        await connection.execute("update users set disabled_at = now()")
    assert (await by_passkey(ada.client, device))[0] == 401
    body = {"challenge": problem["challenge"], "code": clock.next_code(ada.secret)}
    assert (await send(ada.client, "/login/second-factor", body))[0] == 401


async def by_passkey_of(client: Client, device: Authenticator) -> tuple[int, dict[str, Any]]:
    """With the first of its passkeys, which the server may know no more."""
    _, options = await send(client, "/login/passkey/options", {})
    given = device.get(options["public_key"], device.credentials[0])
    return await send(client, "/login/passkey", {"challenge": options["challenge"], "passkey": given})
