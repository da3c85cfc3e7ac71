"""What a media playlist has listed so far, and who watches it: one by looking now and then, one by waiting for more."""

from __future__ import annotations

import http.client
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

_DURATION = re.compile(r"DURATION=([\d.]+)")

Read = Callable[[], str]
"""The playlist as it is now. Raises OSError while there is none."""


class Listing:
    """Adds up what successive versions of one playlist list. Times in s.

    listed: media since the first segment that was ever seen. unit: the longest part, or without parts the longest
    segment. next: (msn, part) that would come next, for a blocking reload (RFC 8216bis, 6.2.5.2).
    """

    def __init__(self) -> None:
        self.listed = 0.0
        self.unit = 0.0
        self.next = (0, 0)
        self._segments: dict[int, float] = {}

    def take(self, text: str) -> bool:
        """Whether this version lists more than the last one did."""
        number, parts, has_parts = 0, [], False
        for line in text.splitlines():
            if line.startswith("#EXT-X-MEDIA-SEQUENCE:"):
                number = int(line.partition(":")[2])
            elif line.startswith("#EXT-X-PART:"):
                found = _DURATION.search(line)
                parts.append(float(found.group(1)) if found else 0.0)
                self.unit = max(parts[-1], self.unit if has_parts else 0.0)
                has_parts = True
            elif line.startswith("#EXTINF:"):
                self._segments[number] = float(line[8:].partition(",")[0])
                if not has_parts:
                    self.unit = max(self.unit, self._segments[number])
                number += 1
                parts = []
        self.next = (number, len(parts))
        before, self.listed = self.listed, sum(self._segments.values()) + sum(parts)
        return self.listed > before + 0.001


class Client:
    """GETs from one server over one connection, as a player does. Not for several threads."""

    def __init__(self, url: str) -> None:
        self._address = urlsplit(url).netloc
        self._connection: http.client.HTTPConnection | None = None

    def get(self, path: str) -> str:
        """Raises OSError, also for any status but 200."""
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self._address, timeout=10)
        try:
            self._connection.request("GET", path)
            answer = self._connection.getresponse()
            body = answer.read()
        except http.client.HTTPException as error:
            self.close()
            raise OSError(f"{path}: {error}") from error
        except OSError:
            self.close()
            raise
        if answer.status != 200:
            raise OSError(f"{path} answered {answer.status}")
        return body.decode()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class KeepUp(threading.Thread):
    """Looks at many playlists in turn, every `interval` s, and notes how much each listed when."""

    def __init__(self, reads: list[Read], interval: float) -> None:
        super().__init__(name="keep-up", daemon=True)
        self._reads = reads
        self._interval = interval
        self._listings = [Listing() for _ in reads]
        self._seen: list[list[tuple[float, float]]] = [[] for _ in reads]
        self._ending = threading.Event()

    def run(self) -> None:
        while not self._ending.wait(self._interval):
            for read, listing, seen in zip(self._reads, self._listings, self._seen, strict=True):
                try:
                    text = read()
                except OSError:
                    continue
                at = time.monotonic()
                listing.take(text)
                seen.append((at, listing.listed))

    def stop(self) -> None:
        self._ending.set()
        self.join(10)

    def behind(self, since: float) -> list[float]:
        """For each playlist the most it was behind after `since` (monotonic), s; one that never listed: infinite.

        A playlist that has just listed its newest unit is where it should be; until the next unit is whole it falls
        back by one unit, and anything beyond that is behind.
        """
        result = []
        for listing, seen in zip(self._listings, self._seen, strict=True):
            ages = [at - listed for at, listed in seen if at >= since and listed]
            result.append(max(0.0, max(ages) - min(ages) - listing.unit) if ages else float("inf"))
        return result


class Follower(threading.Thread):
    """Notes when each new unit of one playlist can be seen.

    news: (monotonic time, listed seconds) of every version that listed more. `wait`: how to get the next version, given
    (msn, part); without it the playlist is read every 5 ms.
    """

    POLL = 0.005

    def __init__(self, read: Read, wait: Callable[[int, int], str] | None = None) -> None:
        super().__init__(name="follower", daemon=True)
        self.news: list[tuple[float, float]] = []
        self._read = read
        self._wait = wait
        self._ending = threading.Event()

    def run(self) -> None:
        listing = Listing()
        while not self._ending.is_set():
            try:
                text = self._wait(*listing.next) if self._wait and self.news else self._read()
            except OSError:
                self._ending.wait(self.POLL)
                continue
            at = time.monotonic()
            if listing.take(text):
                self.news.append((at, listing.listed))
            else:
                self._ending.wait(self.POLL)

    def stop(self) -> None:
        self._ending.set()
        self.join(15)


def reader_of_file(file: Path) -> Read:
    return file.read_text


def reader_of_url(client: Client, url: str) -> Read:
    path = urlsplit(url).path
    return lambda: client.get(path)


def waiter_of_url(client: Client, url: str) -> Callable[[int, int], str]:
    """Blocking reload."""
    path = urlsplit(url).path
    return lambda msn, part: client.get(f"{path}?_HLS_msn={msn}&_HLS_part={part}")
