"""Which passwords are taken (NIST SP 800-63B, section 5.1.1.2): long enough, and not among those that are tried first.

No rules about kinds of characters, which make passwords worse. Refused are the 30,000 most common (from the zxcvbn
package, which keeps them by their frequency in leaks), also with the usual disguises: other capitals, digits for
letters, a few digits or signs around one, one of them twice; what repeats a few characters or runs along the alphabet
or a keyboard; and the account's own name and address. The list is read in a thread, once, by the first who needs it.
"""

from __future__ import annotations

import asyncio
import unicodedata
from functools import lru_cache

from server.kit.problems import Invalid

_AROUND = 4  # characters that may stand around a common word and do not make it another
_NAME = 3  # characters of a name without its digits that still say who it is
_DISGUISES = str.maketrans("013457@$!8", "oieastasib")
_RUNS = (
    "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz",
    "01234567890123456789",
    "qwertyuiopasdfghjklzxcvbnm",
    "qwertzuiopasdfghjklyxcvbnm",
    "azertyuiopqsdfghjklmwxcvbn",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p",
)
_OURS = ("socialflow", "social-flow", "pentutor")
_SIGNS = "0123456789!?.,;:*+#$%&@-_ "


async def check_password(password: str, shortest: int, username: str = "", email: str = "") -> None:
    """Raises Invalid, which says why a password is not taken."""
    shown = unicodedata.normalize("NFKC", password)
    if len(shown) < shortest:
        raise Invalid.at("$.password", f"a password has at least {shortest} characters")
    common = await asyncio.to_thread(_common) if _common.cache_info().currsize == 0 else _common()
    if why := weakness(shown, common, username, email):
        raise Invalid.at("$.password", why)


def weakness(password: str, common: frozenset[str], username: str = "", email: str = "") -> str:
    """Why somebody would try this one soon; empty when nothing is known against it."""
    plain = password.casefold()
    own = {part for part in (username.casefold(), email.casefold(), email.casefold().partition("@")[0], *_OURS) if part}
    own |= {bare for part in own if len(bare := part.strip(_SIGNS)) >= _NAME}  # ada2001, who writes ada1990
    core = plain.strip(_SIGNS)
    for form in {plain, core, plain.translate(_DISGUISES), core.translate(_DISGUISES)}:
        if len(plain) - len(form) > _AROUND and not _counts(plain, core):
            continue
        if _once(form) in own or form in own:
            return "a password is not the username, the e-mail address or the name of this site"
        if form in common or _once(form) in common:
            return "this is one of the passwords that everybody tries first; choose another"
    if len(set(plain)) <= 3 or len(_once(plain)) <= 4 or any(plain in run or plain[::-1] in run for run in _RUNS):
        return "this password repeats a few characters or runs along the keyboard; choose another"
    return ""


def _counts(plain: str, core: str) -> bool:
    """Whether all that stands around the core repeats a character or counts up or down (`password123456`)."""
    before, _, after = plain.partition(core) if core else ("", "", plain)
    around = [part for part in (before, after) if part]
    return all(len(_once(part)) == 1 or any(part in run or part[::-1] in run for run in _RUNS) for part in around)


def _once(text: str) -> str:
    """What a text repeats: `abc` for `abcabcabc`; itself when it repeats nothing."""
    period = (text + text).find(text, 1) if text else 0
    return text[:period]


@lru_cache(maxsize=1)
def _common() -> frozenset[str]:
    from zxcvbn.frequency_lists import FREQUENCY_LISTS  # noqa: PLC0415 - a megabyte that not every process needs

    return frozenset(FREQUENCY_LISTS["passwords"])
