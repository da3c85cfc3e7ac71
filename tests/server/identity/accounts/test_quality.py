"""Which passwords are taken."""

from __future__ import annotations

import pytest

from server.identity.accounts.quality import check_password
from server.kit.problems import Invalid


@pytest.mark.parametrize(
    "password",
    [
        *("password123", "Passw0rd!!", "P@ssw0rd2026", "iloveyou2024", "dragon!!!!", "passwordpassword", "football99"),
        *("aaaaaaaaaa", "abcabcabcabc", "1212121212", "1234567890", "qwertyuiop", "abcdefghij", "jihgfedcba"),
        *(
            "ada.lovelace",
            "ADA.LOVELACE",
            "ada.lovelace1",
            "countess@example.org",
            "Social-Flow1",
        ),
        *("password123456", "1111111password", "dragon987654321", "ada.lovelace123456789"),
        *("short", "ninechars", ""),
        "ｐａｓｓｗｏｒｄ１２３",  # noqa: RUF001 - full-width letters are the same password
    ],
)
async def test_refused(password: str) -> None:
    with pytest.raises(Invalid) as refused:
        await check_password(password, 10, "ada.lovelace", "countess@example.org")
    assert refused.value.extra["errors"][0]["path"] == "$.password"


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery",
        "x7Kq-24vbL",
        "пароль моей собаки",
        "ten chars!",
        "adas cat is called lovelace",
        "密码短语很长很长很长",
    ],
)
async def test_taken(password: str) -> None:
    await check_password(password, 10, "ada.lovelace", "countess@example.org")


async def test_a_name_without_its_digits_is_still_the_name() -> None:
    with pytest.raises(Invalid):
        await check_password("countess1990", 10, "countess2001", "someone@example.org")
    await check_password("al-2901-xqkz", 10, "al2901", "someone@example.org")


async def test_the_longest_is_looked_at_in_no_time() -> None:
    await check_password("ab" * 511 + "cd", 10)
