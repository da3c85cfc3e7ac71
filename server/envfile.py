"""`python -m server.envfile > .env.example`: every setting with its meaning and default, made from server/settings.py.

The comments that part the settings there become the headings here.
"""

from __future__ import annotations

import inspect
import re
import sys
import textwrap
from dataclasses import fields

from server.settings import Settings

_HEAD = """\
# Every setting of the server. Copy this file to .env and change what you need; all have defaults, so that an empty
# .env, or none, is right for trying things out. A variable in the environment wins over the same name in .env.
# Made by: python -m server.envfile > .env.example
"""


def render() -> str:
    """The text of `.env.example`."""
    known = {field.name: field for field in fields(Settings)}
    blocks = [_HEAD]
    for line in inspect.getsource(Settings).splitlines():
        if heading := re.fullmatch(r"    # (.+)", line):
            blocks.append(f"\n# == {heading[1]} ==\n")
        elif (name := re.match(r"    (\w+): ", line)) and name[1] in known:
            field = known.pop(name[1])
            about = textwrap.fill(field.metadata["doc"], 116, initial_indent="# ", subsequent_indent="# ")
            blocks.append(f"\n{about}\n# {field.name.upper()}={_written(field.default)}\n")
    if known:
        raise ValueError(f"settings that were not found in the source: {', '.join(known)}")
    return "".join(blocks)


def _written(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


if __name__ == "__main__":
    sys.stdout.write(render())
