"""Numbers that wrap, and what RTP times mean: sender reports tie them to the sender's clock (RFC 3550, 6.4.1).

A SenderClock lives as long as its sender and has a SourceClock for each of its sources; it puts them on one timeline,
so that picture and sound stay together.
"""

from __future__ import annotations

from media.protocols.rtp.rtcp import ReportBlock, SenderReport

NTP_EPOCH = 2_208_988_800
"""Seconds from 1900 to 1970."""
SLEW = 0.1
"""How much of the time that passes may be used to draw a source to its place: a second of error takes ten."""
MAX_ERROR = 10.0
"""Seconds; sender reports that are further apart than this do not come of one clock and are not followed."""


class Unwrapper:
    """Numbers of `bits` bits, counted on when they wrap: each is taken to be within half the range of the last."""

    __slots__ = ("_half", "_mask", "last")

    def __init__(self, bits: int) -> None:
        self.last = -1
        """The last one; -1 before the first."""
        self._mask = (1 << bits) - 1
        self._half = 1 << (bits - 1)

    def unwrap(self, value: int) -> int:
        """Never negative for the first 2^bits numbers to either side of the first."""
        last = self.last
        if last < 0:
            self.last = value + self._mask + 1
            return self.last
        ahead = (value - last) & self._mask
        if ahead >= self._half:
            ahead -= self._mask + 1
        self.last = last = max(0, last + ahead)
        return last


def ntp_time(seconds: float) -> int:
    """Unix seconds as NTP's 32.32."""
    return int((seconds + NTP_EPOCH) * (1 << 32)) & 0xFFFF_FFFF_FFFF_FFFF


def unix_time(ntp: int) -> float:
    """A time whose first bit is 0 lies after the wrap of 2036 (RFC 4330, 3)."""
    seconds = ntp / (1 << 32) - NTP_EPOCH
    return seconds if ntp >> 63 else seconds + (1 << 32)


def middle(ntp: int) -> int:
    """The 32 bits that reports carry of it."""
    return ntp >> 16 & 0xFFFFFFFF


def round_trip(block: ReportBlock, ntp: int) -> float | None:
    """Seconds from our sender report to this block, which came at `ntp`, without the time that the other side held it
    (RFC 3550, 6.4.1). None for a block that has seen none of our reports, or makes no sense."""
    if not block.last_report:
        return None
    ticks = (middle(ntp) - block.last_report - block.delay) & 0xFFFFFFFF
    return ticks / 65536 if ticks < 1 << 31 else None


class SourceClock:
    """The times of one source. Made by `SenderClock.source`."""

    def __init__(self, sender: SenderClock, rate: int) -> None:
        self.rate = rate
        self._sender = sender
        self._ticks = Unwrapper(32)
        self._origin = 0  # the ticks that lie at `_place` seconds of the timeline
        self._place = 0.0
        self._last = -1
        self._report: tuple[float, int] | None = None  # unix seconds of the sender, ticks
        self._last_report = 0
        self._reported_at = 0.0

    def position(self, timestamp: int, arrival: float) -> float:
        """Seconds on the sender's timeline, which begins at 0 with the first packet of any source.

        A source begins where it arrives. Once sender reports tell how far apart the sources are, those that do not
        lead are drawn to their place little by little, so that times that rise go on rising. A clock that jumps is
        followed as it is: what that means is for the caller to say.
        """
        ticks = self._ticks.unwrap(timestamp)
        if self._last < 0:
            self._origin = self._last = ticks
            self._place = self._sender.elapsed(arrival)
        place = self._place + (ticks - self._origin) / self.rate
        wanted = self._sender.place(self, ticks)
        if wanted is not None and ticks > self._last:
            room = SLEW * (ticks - self._last) / self.rate
            error = wanted - place
            if abs(error) <= MAX_ERROR:
                step = max(-room, min(room, error))
                self._place += step
                place += step
        self._last = max(self._last, ticks)
        return place

    def report(self, report: SenderReport, arrival: float) -> None:
        """arrival: seconds of the clock that `last_report` is asked with."""
        self._last_report = middle(report.ntp)
        self._reported_at = arrival
        if report.ntp >> 32:
            before = self._ticks.last
            ticks = self._ticks.unwrap(report.timestamp)
            if before >= 0:
                self._ticks.last = before
            self._report = unix_time(report.ntp), ticks

    def last_report(self, now: float) -> tuple[int, int]:
        """The last two fields of a report block about this source."""
        if not self._last_report:
            return 0, 0
        return self._last_report, min(0xFFFFFFFF, max(0, int((now - self._reported_at) * 65536)))

    def captured(self, timestamp: int) -> float | None:
        """Unix seconds by the sender's clock, None before its first report."""
        before = self._ticks.last
        ticks = self._ticks.unwrap(timestamp)
        if before >= 0:
            self._ticks.last = before
        return self.captured_ticks(ticks)

    def captured_ticks(self, ticks: int) -> float | None:
        if self._report is None:
            return None
        seconds, at = self._report
        return seconds + (ticks - at) / self.rate

    def place_of(self, captured: float) -> float | None:
        """Where on the timeline lies what was captured then."""
        if self._report is None or self._last < 0:
            return None
        seconds, at = self._report
        return self._place + (at - self._origin) / self.rate + captured - seconds


class SenderClock:
    def __init__(self) -> None:
        self._start: float | None = None
        self._leader: SourceClock | None = None

    def source(self, rate: int, *, leads: bool = False) -> SourceClock:
        """rate: ticks a second. leads: the others are drawn to this one, whose times stay what they are: sound."""
        source = SourceClock(self, rate)
        if leads:
            self._leader = source
        return source

    def elapsed(self, arrival: float) -> float:
        if self._start is None:
            self._start = arrival
        return arrival - self._start

    def place(self, source: SourceClock, ticks: int) -> float | None:
        """Where the reports say that these ticks belong; None for the leader, and as long as they do not say."""
        leader = self._leader
        if leader is None or leader is source:
            return None
        captured = source.captured_ticks(ticks)
        return None if captured is None else leader.place_of(captured)
