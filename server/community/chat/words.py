"""Words that a channel does not want: found also when they are dressed up with accents, capitals or invisible
characters. Never a regular expression from outside: the work is bounded by the length of the text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Literal

Action = Literal["refuse", "mask", "shadow"]
_ASCII_WORD = re.compile(r"[A-Za-z0-9_]+")
_STRENGTH: dict[Action, int] = {"mask": 0, "shadow": 1, "refuse": 2}


@dataclass(frozen=True, slots=True)
class Word:
    """One filter. Its tokens stand one after the other; each may have a `*` at either end."""

    tokens: tuple[str, ...]
    action: Action
    cores: tuple[str, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "cores", tuple(token.strip("*") for token in self.tokens))


@dataclass(frozen=True, slots=True)
class Token:
    start: int
    end: int
    form: str


def tokens_of(text: str) -> list[Token]:
    """The words of a text with their places, in the form in which they are compared."""
    if text.isascii():  # most are: the same, at the speed of C
        return [Token(found.start(), found.end(), found[0].lower()) for found in _ASCII_WORD.finditer(text)]
    found: list[Token] = []
    start = -1
    for at, character in enumerate(text + " "):
        category = unicodedata.category(character)
        inside = category[0] in "LN" or character == "_"
        invisible = category in ("Mn", "Me", "Cf")  # neither makes a word nor ends one
        if inside and start < 0:
            start = at
        elif not inside and not invisible and start >= 0:
            form = _form(text[start:at])
            if form:
                found.append(Token(start, at, form))
            start = -1
    return found


def parse(pattern: str) -> tuple[str, ...]:
    """The tokens of a filter as its author wrote it; empty when there is no word in it."""
    parts = []
    for part in pattern.split():
        inner = [token.form for token in tokens_of(part.strip("*"))]
        if not inner:
            continue
        inner[0] = "*" + inner[0] if part.startswith("*") else inner[0]
        inner[-1] = inner[-1] + "*" if part.endswith("*") else inner[-1]
        parts += inner
    return tuple(parts)


def check(text: str, words: Sequence[Word]) -> tuple[str, Action | None]:
    """The text with what is to be masked masked, and the strongest action that a filter asks for."""
    if not words:
        return text, None
    tokens = tokens_of(text)
    whole = "\n".join(token.form for token in tokens)
    strongest: Action | None = None
    masked: list[Token] = []
    for word in words:
        if not all(core in whole for core in word.cores):  # nearly always, and at the speed of C
            continue
        for run in _runs(tokens, word.tokens):
            if strongest is None or _STRENGTH[word.action] > _STRENGTH[strongest]:
                strongest = word.action
            if word.action == "mask":
                masked += run
    for token in sorted(set(masked), key=lambda token: -token.start):
        text = text[: token.start] + "*" * len(token.form) + text[token.end :]
    return text, strongest


def fingerprint(text: str) -> int:
    """The same for texts that say the same: capitals, accents, spaces and punctuation aside. Of 64 bits."""
    forms = [token.form for token in tokens_of(text)]
    same = " ".join(forms) if forms else "".join(text.split())
    return int.from_bytes(blake2b(same.encode(), digest_size=8).digest(), "big", signed=True)


def _form(text: str) -> str:
    if text.isascii():  # most are, and there is nothing to take apart
        return text.lower()
    letters = unicodedata.normalize("NFKD", text).casefold()
    return "".join(c for c in letters if unicodedata.category(c) not in ("Mn", "Me", "Cf"))


def _runs(tokens: Sequence[Token], pattern: tuple[str, ...]) -> Iterable[Sequence[Token]]:
    if len(pattern) == 1:
        return [[token] for token in _found(tokens, pattern[0])]
    starts = {tokens.index(token) for token in _found(tokens, pattern[0])}
    return [
        run
        for at in sorted(starts)
        if len(run := tokens[at : at + len(pattern)]) == len(pattern)
        and all(_found([token], part) for token, part in zip(run, pattern, strict=True))
    ]


def _found(tokens: Sequence[Token], part: str) -> list[Token]:
    core = part.strip("*")
    if part.startswith("*"):
        if part.endswith("*"):
            return [token for token in tokens if core in token.form]
        return [token for token in tokens if token.form.endswith(core)]
    if part.endswith("*"):
        return [token for token in tokens if token.form.startswith(core)]
    return [token for token in tokens if token.form == core]
