"""Emoji and emotes: `:name:` in a text stands for an emote of the channel, or for one that every channel has."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

CODE = re.compile(r":([a-z0-9_]{2,32}):")
LONGEST_ART = 16  # code points

EVERYWHERE: Mapping[str, str] = {
    "smile": "😊", "laugh": "😂", "grin": "😁", "wink": "😉", "cool": "😎", "think": "🤔", "shock": "😱", "cry": "😢",
    "angry": "😠", "love": "😍", "heart": "❤️", "broken_heart": "💔", "up": "👍", "down": "👎", "clap": "👏",
    "wave": "👋", "pray": "🙏", "strong": "💪", "fire": "🔥", "star": "⭐", "party": "🎉", "rocket": "🚀", "eyes": "👀",
    "skull": "💀", "hundred": "💯", "trophy": "🏆", "crown": "👑", "music": "🎵", "popcorn": "🍿", "coffee": "☕",
    "rip": "🪦", "gg": "🤝",
}  # fmt: skip

_ZWJ, _VS16, _KEYCAP = "\u200d", "\ufe0f", "\u20e3"


def is_emoji(text: str) -> bool:
    """Whether the text is one emoji: one picture for those who see it, with skin, joined parts or a flag's two."""
    return 0 < len(text) <= LONGEST_ART and _one(text, 0) == len(text)


def only_emotes(text: str, emotes: Mapping[str, str]) -> bool:
    """Whether nothing but emotes, emoji and spaces is in the text."""
    rest = CODE.sub(lambda found: " " if known(found[1], emotes) else found[0], text)
    at, any_there = 0, rest != text
    while at < len(rest):
        if rest[at].isspace():
            at += 1
            continue
        end = _one(rest, at)
        if end == at:
            return False
        at, any_there = end, True
    return any_there


def known(name: str, emotes: Mapping[str, str]) -> bool:
    return name in emotes or name in EVERYWHERE


def is_reaction(text: str, emotes: Mapping[str, str]) -> bool:
    """One emoji, or the code of one emote."""
    found = CODE.fullmatch(text)
    return known(found[1], emotes) if found is not None else is_emoji(text)


def _one(text: str, at: int) -> int:
    """The end of the emoji that begins at `at`; `at` when none does. Unicode Technical Standard 51, section 1.4.9."""
    start = at
    while True:
        end = _part(text, at)
        if end == at:
            return start if at == start or text[at - 1] == _ZWJ else at
        at = end
        if text[at : at + 1] != _ZWJ:
            return at
        at += 1


def _part(text: str, at: int) -> int:
    first = text[at : at + 1]
    if not first:
        return at
    if first in "0123456789#*":
        end = at + 2 if text[at + 1 : at + 2] == _VS16 else at + 1
        return end + 1 if text[end : end + 1] == _KEYCAP else at
    if _regional(first):
        return at + 2 if _regional(text[at + 1 : at + 2]) else at
    category = unicodedata.category(first)
    # characters newer than this Python's tables, in the planes of pictographs
    pictograph = category == "So" or (category == "Cn" and "\U0001f300" <= first <= "\U0001faff")
    if not pictograph and first not in "‼⁉↔↕↖↗↘↙↩↪▪▫◽◾◻◼〰":
        return at
    at += 1
    if text[at : at + 1] == _VS16 or "\U0001f3fb" <= text[at : at + 1] <= "\U0001f3ff":
        at += 1
    while "\U000e0020" <= text[at : at + 1] <= "\U000e007f":
        at += 1
    return at


def _regional(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"
