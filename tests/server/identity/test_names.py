"""Which addresses are one."""

from __future__ import annotations

import pytest

from server.identity.names import email_key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ada@Example.ORG", "ada@example.org"),
        (" ada@example.org ", "ada@example.org"),
        ("ada@ｅxample.org", "ada@example.org"),  # noqa: RUF001
        ("ada@xn--bcher-kva.example", "ada@bücher.example"),
        ("ada@XN--BCHER-KVA.example", "ada@BÜCHER.example"),
        ("ada@xn--strae-oqa.example", "ada@straße.example"),
    ],
)
def test_one_address_in_two_spellings(one: str, other: str) -> None:
    assert email_key(one) == email_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ada@straße.example", "ada@strasse.example"),
        ("xn--bcher-kva@example.org", "bücher@example.org"),  # a mailbox is no domain
        ("ada@xn--.example", "ada@.example"),
        ("ada@xn--\u00e9.example", "ada@\u00e9.example"),
    ],
)
def test_two_addresses(one: str, other: str) -> None:
    assert email_key(one) != email_key(other)


def test_a_name_without_a_domain_is_left() -> None:
    assert email_key("Ada") == "ada"
