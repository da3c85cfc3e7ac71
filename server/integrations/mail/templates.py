"""The words of every mail: one file under `words/` each, from which both of its forms, text and HTML, are made.

A file fills the blocks `subject` and `body` of the layout `base.html` or `base.txt` by the same macros, so the two
forms cannot say different things. HTML is escaped; a missing value is an error. Owns the compiled templates.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import jinja2

from server.integrations.mail.shown import day, device, moment, number, quoted

_BLANKS = re.compile(r"\n{3,}")
WORDS = Path(__file__).resolve().parent / "words"
PRODUCT = "Social Flow"

NEEDS: Final[dict[str, tuple[str, ...]]] = {
    "verify_email": ("username", "url", "hours"),
    "already_registered": ("username", "url_login", "url_reset"),
    "reset_password": ("username", "url", "minutes"),
    "password_changed": ("username", "when", "address", "user_agent", "url_sessions"),
    "email_changed": ("username", "new_email", "url_support"),
    "confirm_new_email": ("username", "url", "hours"),
    "new_sign_in": ("username", "when", "address", "user_agent", "url_sessions"),
    "session_reused": ("username", "when", "address", "user_agent"),
    "factor_changed": ("username", "what", "when"),
    "second_factor_refused": ("username", "what", "when", "address", "user_agent", "url_reset"),
    "recovery_codes_low": ("username", "left"),
    "sign_in_linked": ("username", "provider", "when"),
    "api_key_made": ("username", "name", "when"),
    "export_ready": ("username", "url", "hours"),
    "deletion_scheduled": ("username", "date", "url_cancel"),
    "account_deleted": ("username",),
    "locked_out": ("username", "when", "minutes", "url_reset"),
}
"""What each mail shows."""


@dataclass(frozen=True, slots=True)
class Rendered:
    subject: str
    text: str
    html: str


class Templates:
    """base_url: where the product is reached, for the foot of each mail and the links to account settings."""

    def __init__(self, base_url: str) -> None:
        self._forms: dict[str, jinja2.Environment] = {}
        for form in ("html", "txt"):
            environment = jinja2.Environment(
                loader=jinja2.FileSystemLoader(WORDS),
                autoescape=form == "html",
                undefined=jinja2.StrictUndefined,
                trim_blocks=True,
                lstrip_blocks=True,
                auto_reload=False,
            )
            environment.filters.update(moment=moment, day=day, device=device, quoted=quoted, number=number, fill=_fill)
            environment.globals.update(base_url=base_url, product=PRODUCT)
            self._forms[form] = environment

    def check(self, name: str, values: Mapping[str, object]) -> None:
        """Raises ValueError when there is no such mail, it would miss a value, or a link is none."""
        needed = NEEDS.get(name)
        if needed is None:
            raise ValueError(f"there is no mail {name}")
        if missing := [value for value in needed if value not in values]:
            raise ValueError(f"the mail {name} needs {', '.join(missing)}")
        for key in needed:
            if key.startswith("url") and not str(values[key]).startswith(("https://", "http://")):
                raise ValueError(f"{key} of the mail {name} is no address of the web")

    def render(self, name: str, values: Mapping[str, object]) -> Rendered:
        """Call it in a thread: it takes about a millisecond, and the first time of each mail reads and compiles its
        files. Raises ValueError as `check` does."""
        self.check(name, values)
        given = {key: values[key] for key in NEEDS[name]}
        text, html = self._template(name, "txt"), self._template(name, "html")
        subject = "".join(text.blocks["subject"](text.new_context(given)))
        given["subject"] = " ".join(subject.split())
        return Rendered(
            str(given["subject"]), _BLANKS.sub("\n\n", text.render(given)).strip() + "\n", html.render(given)
        )

    def _template(self, name: str, form: str) -> jinja2.Template:
        names = {"layout": f"base.{form}", "parts": f"parts.{form}"}
        return self._forms[form].get_template(f"{name}.jinja", globals=names)


def _fill(text: str, width: int = 72) -> str:
    """A paragraph in lines; a long link stays whole, as it could not be followed otherwise."""
    return textwrap.fill(" ".join(text.split()), width, break_long_words=False, break_on_hyphens=False)
