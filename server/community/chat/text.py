"""What may stand in a chat message: one line of plain text."""

from __future__ import annotations

import unicodedata

from server.community.chat.errors import BadText

# characters that turn the direction of what follows, also outside the message
_DIRECTIONS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_INVISIBLE = frozenset({"Cf", "Zs", "Zl", "Zp", "Mn", "Me"})


def clean(text: str, longest: int) -> str:
    """The text as it is kept: line breaks and tabs become spaces, other control characters and direction overrides
    go, the ends are
    trimmed. Raises BadText when nothing visible is left, or more than `longest` code points."""
    kept: list[str] = []
    visible = False
    for character in text:
        category = unicodedata.category(character)
        if category in ("Cc", "Zl", "Zp"):
            if character not in "\n\r\t\v\f\x85\u2028\u2029":
                continue
            character = " "
            category = "Zs"
        elif category == "Cs" or character in _DIRECTIONS:
            continue
        visible = visible or category not in _INVISIBLE
        kept.append(character)
    cleaned = "".join(kept).strip()
    if not visible:
        raise BadText("A message needs some text.", field="text")
    if len(cleaned) > longest:
        raise BadText(
            f"A message may have {longest} characters; this one has {len(cleaned)}.", field="text", longest=longest
        )
    return cleaned
