"""The words of mails, and how values look in them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from server.integrations.mail import BadAddress, Sender, Templates
from server.integrations.mail.message import compose
from server.integrations.mail.shown import day, device, moment, number, quoted
from server.integrations.mail.templates import NEEDS, WORDS
from server.kit.ids import uuid7

BASE = "https://live.example.org"
HOSTILE = "\"><a href='https://evil.example'>x</a>{{ 7*'7' }}{% raw %}\r\nBcc: eve@example.org"


@pytest.fixture(scope="module")
def templates() -> Templates:
    return Templates(BASE)


def values(name: str, text: str) -> dict[str, Any]:
    numbers = ("hours", "minutes", "left")
    return {
        key: 2 if key in numbers else f"{BASE}/account#{text}" if key.startswith("url") else text for key in NEEDS[name]
    }


@pytest.mark.parametrize("name", sorted(NEEDS))
def test_every_mail_says_the_same_in_both_forms(templates: Templates, name: str) -> None:
    words = templates.render(name, values(name, "somevalue"))
    assert words.subject
    assert "\n" not in words.subject
    assert f"<title>{words.subject}</title>" in words.html
    for key in NEEDS[name]:
        if key.startswith("url"):
            assert words.text.count(f"{BASE}/account#somevalue")
            assert f'href="{BASE}/account#somevalue"' in words.html
    assert words.text.startswith("Hello somevalue,\n\n")
    assert "\n\n\n" not in words.text
    assert all(len(line) <= 100 for line in words.text.splitlines() if "https://" not in line)
    # nothing is fetched when the mail is read, and nothing runs
    for forbidden in ("<img", "<script", "src=", "url(", "@import", "<link"):
        assert forbidden not in words.html


@pytest.mark.parametrize("name", sorted(NEEDS))
def test_values_stay_values(templates: Templates, name: str) -> None:
    plain = templates.render(name, values(name, "x"))
    words = templates.render(name, values(name, HOSTILE))
    assert words.html.count("<a ") == plain.html.count("<a ")
    assert "<a href='https://evil" not in words.html
    assert "7777777" not in words.html + words.text
    message = compose(uuid7(), Sender.parse("", "localhost"), "ada@example.org", words)
    raw = message.as_bytes()
    assert b"\nBcc:" not in raw.partition(b"\r\n\r\n")[0]
    assert message["Subject"] == words.subject


def test_there_is_a_mail_for_every_file() -> None:
    assert {path.stem for path in WORDS.glob("*.jinja")} == set(NEEDS)


def test_one_and_many(templates: Templates) -> None:
    assert "1 recovery code left" in templates.render("recovery_codes_low", {"username": "ada", "left": 1}).text
    none = templates.render("recovery_codes_low", {"username": "ada", "left": 0})
    assert none.subject == "No recovery codes left"
    assert "the last of your recovery codes" in none.text
    assert number(1, "hour", "hours") == "1 hour"


@pytest.mark.parametrize(
    ("user_agent", "shown"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", "Firefox on Linux"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Safari/604.1", "Safari on iPhone"),
        ("Mozilla/5.0 (Windows NT 10.0) Chrome/130.0 Safari/537.36 Edg/130.0", "Edge on Windows"),
        ("Firefox on Linux", "Firefox on Linux"),
        ("", "an unknown program"),
        ("Call +1 555 at https://evil.example", "an unknown program"),
        ("www.evil.example", "an unknown program"),
        ("x" * 61, "an unknown program"),
    ],
)
def test_programs(user_agent: str, shown: str) -> None:
    assert device(user_agent) == shown


def test_times() -> None:
    assert moment("2026-11-20T18:03:00+02:00") == "20 November 2026, 16:03 UTC"
    assert day("2026-11-20T18:03:00Z") == "20 November 2026"
    assert moment("yesterday") == "yesterday"


@pytest.mark.parametrize("text", ["www.evil.com", "https://evil.com", "eve@evil.com", "evil.com/x"])
def test_what_somebody_typed_is_no_link(text: str) -> None:
    assert text not in quoted(text)
    assert quoted("my overlay") == "“my overlay”"


@pytest.mark.parametrize(
    ("given", "header"),
    [
        ("", "Social Flow <no-reply@live.example.org>"),
        ("post@example.org", "Social Flow <post@example.org>"),
        ("Ada & Co <post@example.org>", "Ada & Co <post@example.org>"),
        ('"Ada, Inc." <post@example.org>', '"Ada, Inc." <post@example.org>'),
    ],
)
def test_senders(given: str, header: str) -> None:
    assert str(Sender.parse(given, "live.example.org").address) == header


@pytest.mark.parametrize("given", ["nobody", "a <b", "a@b\r\nBcc: c@d", "x <a@b> <c@d>", "a@b, c@d", "<>"])
def test_what_is_no_sender(given: str) -> None:
    with pytest.raises(BadAddress):
        Sender.parse(given, "live.example.org")


def test_the_headers_do_not_depend_on_when_it_is_sent(templates: Templates) -> None:
    id = UUID("019aa2f0-0000-7000-8000-000000000001")
    sender = Sender.parse("", "live.example.org")
    words = templates.render("account_deleted", {"username": "ada"})
    first, second = (compose(id, sender, "ada@example.org", words).as_bytes() for _ in range(2))
    assert first == second
    assert f"<{id}@live.example.org>".encode() in first
