"""Tables of medians: every cell that was measured more than once also shows from where to where it went."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from bench.processes import say


def median(values: Iterable[float], digits: int = 2) -> str:
    """`median (least to most)`; a dash when there is none."""
    known = sorted(values)
    if not known:
        return "–"  # noqa: RUF001 a dash
    middle = f"{statistics.median(known):,.{digits}f}"
    if len(known) == 1:
        return middle
    return f"{middle} ({known[0]:,.{digits}f} to {known[-1]:,.{digits}f})"


def ratio(ours: Iterable[float], peers: Iterable[float]) -> float | None:
    """The median of ours over the median of theirs, None when either is missing."""
    mine, theirs = list(ours), list(peers)
    if not mine or not theirs or not statistics.median(theirs):
        return None
    return statistics.median(mine) / statistics.median(theirs)


def percentile(values: Sequence[float], share: float) -> float:
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(share * len(ranked)))]


def verdict(what: str, value: float | None, aim: float, *, most: bool, unit: str = "") -> None:
    """One line: the figure, the aim, and whether it was met. `most`: the aim is an upper bound."""
    if value is None:
        say(f"  {what}: not measured")
        return
    met = value <= aim if most else value >= aim
    bound = "at most" if most else "at least"
    say(f"  {what}: {value:.2f}{unit}, aim {bound} {aim:g}{unit}: {'met' if met else 'MISSED'}")


class Table:
    def __init__(self, title: str, columns: Sequence[str]) -> None:
        self._title = title
        self._rows: list[list[str]] = [list(columns)]

    def add(self, *cells: object) -> None:
        self._rows.append([str(cell) for cell in cells])

    def show(self) -> None:
        widths = [max(len(row[at]) for row in self._rows) for at in range(len(self._rows[0]))]
        say()
        say(self._title)
        for number, row in enumerate(self._rows):
            first, *others = (
                cell.ljust(width) if at == 0 else cell.rjust(width)
                for at, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            say("  " + "  ".join([first, *others]))
            if number == 0:
                say("  " + "  ".join("-" * width for width in widths))
