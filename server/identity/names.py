"""What a username and an e-mail address may look like, and the form in which they are compared."""

from __future__ import annotations

import re
import unicodedata

from server.identity.errors import UsernameTaken
from server.kit.problems import Invalid

_USERNAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{1,28})[A-Za-z0-9_]")
_LOCAL = re.compile(r"[^\s@<>()\[\],;:\\\"\x00-\x1f\x7f]{1,64}")
_LABEL = re.compile(r"[^\W_](?:[\w-]{0,61}[^\W_])?")
_RESERVED = frozenset(
    {
        *("admin", "administrator", "anonymous", "api", "moderator", "official", "root", "security"),
        *("social-flow", "socialflow", "staff", "support", "system"),
    }
)


def check_username(name: str, *, operator: bool = False) -> str:
    """The name as it will be shown. operator: reserved names are free. Raises Invalid, UsernameTaken."""
    if _USERNAME.fullmatch(name) is None:
        raise Invalid.at(
            "$.username",
            "a username has 3 to 30 letters (a to z), digits, dots, hyphens or underscores; "
            "it starts with a letter or digit and does not end with a dot or hyphen",
        )
    if not operator and name.lower() in _RESERVED:
        raise UsernameTaken("This username is reserved; choose another.")
    return name


def check_email(address: str) -> tuple[str, str]:
    """The address as written and as compared. Raises Invalid."""
    address = unicodedata.normalize("NFC", address.strip())
    local, at, domain = address.rpartition("@")
    labels = domain.split(".")
    if (
        not at
        or len(address) > 254
        or _LOCAL.fullmatch(local) is None
        or local.startswith(".")
        or local.endswith(".")
        or ".." in local
        or not all(_LABEL.fullmatch(label) for label in labels)
    ):
        raise Invalid.at("$.email", "this is not an e-mail address")
    return address, email_key(address)


def email_key(address: str) -> str:
    """The form in which addresses are compared: no provider in use tells capitals apart. Small letters and no more:
    straße.example and strasse.example are two domains (RFC 5892), and so two people; xn--strae-oqa.example is the first
    of them, written for machines (RFC 3492)."""
    local, at, domain = unicodedata.normalize("NFKC", address.strip()).lower().rpartition("@")
    return local + at + ".".join(map(_for_people, domain.split(".")))


def _for_people(label: str) -> str:
    if not label.startswith("xn--"):
        return label
    try:
        return unicodedata.normalize("NFKC", label[4:].encode("ascii").decode("punycode")).lower() or label
    except (UnicodeError, ValueError):
        return label
