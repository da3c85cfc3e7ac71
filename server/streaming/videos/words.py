"""What somebody typed into the search, as PostgreSQL asks it. Pure."""

from __future__ import annotations

MOST_WORDS = 12


def as_tsquery(text: str) -> str:
    """All words, the last as the beginning of one. Each is quoted, so that nothing in it is an operator; a word that
    PostgreSQL takes apart ("e-mail") has to be found with its parts side by side. Empty when there is no word."""
    words = [word for word in text.split() if any(letter.isalnum() for letter in word)][:MOST_WORDS]
    quoted = ["'" + word.replace("\\", "\\\\").replace("'", "''") + "'" for word in words]
    return " & ".join(quoted) + ":*" if quoted else ""
