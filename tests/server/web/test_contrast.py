"""The colours of the sheet: text on every ground it stands on, in both themes, by WCAG 2.2's formula."""

from __future__ import annotations

import re

import pytest

from server.web.routes import HERE

PAIRS = [
    *[("text", ground) for ground in ("ground", "panel", "raised")],
    *[("muted", ground) for ground in ("ground", "panel", "raised")],
    ("on-accent", "accent"),
    ("accent", "panel"),
    ("accent", "accent-soft"),
    ("text", "accent-soft"),
    ("muted", "accent-soft"),
    ("good", "panel"),
    ("bad", "panel"),
    ("bad", "bad-ground"),
    ("warn-text", "warn-ground"),
    ("warn-text", "raised"),
]


def themes() -> dict[str, dict[str, str]]:
    sheet = (HERE / "assets" / "style.css").read_text()
    blocks = re.findall(r"(:root[^{]*)\{([^}]*)\}", sheet)
    found = {}
    for selector, body in blocks:
        tokens = dict(re.findall(r"--([\w-]+):\s*(#[0-9a-f]{6})", body))
        if len(tokens) > 5:
            found[selector.strip()] = tokens
    return found


THEMES = themes()


def luminance(colour: str) -> float:
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", sorted(THEMES))
@pytest.mark.parametrize(("front", "back"), PAIRS)
def test_text_can_be_read(theme: str, front: str, back: str) -> None:
    light, dark = sorted((luminance(THEMES[theme][front]), luminance(THEMES[theme][back])), reverse=True)
    # WCAG 2.2, 1.4.3: "a contrast ratio of at least 4.5:1"
    assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_a_chosen_dark_theme_is_the_same_as_the_systems() -> None:
    assert THEMES[':root[data-theme="dark"]'] == THEMES[":root:not([data-theme])"]
    assert len(THEMES) == 3
