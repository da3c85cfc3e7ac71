"""What every way in asks of the product, and what it is given to write to.

The engine knows neither accounts nor keys: a listener describes who wants to publish, and the Gate answers with a
publisher session of a broadcast, or refuses in words that the encoder shows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from media.samples import Sample, Track


class Refused(Exception):
    """The publisher is not let in. `code` is the protocol-independent reason, `description` is shown by the encoder."""

    def __init__(self, code: str, description: str) -> None:
        super().__init__(description)
        self.code = code
        self.description = description


class Link(Protocol):
    """The connection behind a publisher, as its broadcast sees it."""

    @property
    def last_received(self) -> float:
        """time.monotonic() of the last bytes that came in; a second publisher asks it to tell dead from alive."""
        ...

    def close(self, reason: str) -> None:
        """Tell the encoder why, in its protocol's words, and hang up."""
        ...

    def want_key(self, rendition: str = "") -> bool:
        """Ask for a key frame of the picture, or of a simulcast layer by its name; False when this protocol has no way
        to ask."""
        ...

    def describe(self) -> dict[str, object]: ...


@dataclass(frozen=True, slots=True)
class PublishRequest:
    """protocol: rtmp | rtmps | whip. key: the stream key as sent. address: the peer's IP address.
    encoder: what the client calls itself (flashVer, User-Agent), cut to 200 characters. account: the id of who has
    proved to be the owner in another way, instead of a key; the engine makes nothing of it."""

    protocol: str
    key: str
    address: str
    encoder: str
    link: Link
    account: str = ""


class Rendition(Protocol):
    """One more size of the picture that a connection brings (simulcast), as media.broadcast.Derived is one."""

    @property
    def closed(self) -> bool: ...

    def track(self, track: Track) -> bool:
        """False, and nothing done, while there is no timeline."""
        ...

    def samples(self, batch: Sequence[Sample]) -> None: ...

    def close(self) -> None: ...


class Publisher(Protocol):
    """Where an admitted connection writes. Nothing here blocks and nothing raises for what the media is like."""

    def track(self, track: Track) -> None:
        """A sequence header: a new track, or a new configuration of the track with that id."""
        ...

    def samples(self, batch: Sequence[Sample]) -> None:
        """Frames in the order they came; per track the decode times rise strictly."""
        ...

    def restart(self) -> None:
        """The publisher's clock jumped: what follows is on a new timeline (a discontinuity)."""
        ...

    def derive(self, name: str, on_timeline: Callable[[], None]) -> Rendition | None:
        """A rendition beside the picture, on the same clock, listed for viewers; None when there can be none of that
        name. on_timeline: called when a timeline began, and its track is due again."""
        ...

    def close(self, reason: str, *, clean: bool) -> None:
        """The publisher is gone. clean: it said so (FCUnpublish, deleteStream, DELETE). Safe to call twice."""
        ...


class Gate(Protocol):
    async def admit(self, request: PublishRequest) -> Publisher:
        """Raises Refused."""
        ...

    def turned_away(self, request: PublishRequest | None, address: str, reason: str) -> None:
        """A connection was closed for what it sent or for a limit; the owner of the key, if known, can read why."""
        ...
