"""What the children hand back: which files they wrote, and what the playlists must know of them. Storable as JSON."""

from __future__ import annotations

import msgspec


class Segment(msgspec.Struct, frozen=True, array_like=True):
    """A file `{letter}-{number}.m4s`. start and duration in ticks of the rendition's scale; size in bytes."""

    number: int
    start: int
    duration: int
    size: int


class Made(msgspec.Struct, frozen=True):
    """What was made of one rendition. letter: `v-720p` or `a`; codec: RFC 6381; init: name of the init segment's
    file."""

    letter: str
    codec: str
    scale: int
    init: str
    segments: tuple[Segment, ...]
    width: int = 0
    height: int = 0
    frame_rate: float = 0.0
    sample_rate: int = 0
    channels: int = 0

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the files in the folder, the init segment first."""
        return (self.init, *(f"{self.letter}-{segment.number}.m4s" for segment in self.segments))


class ChunkResult(msgspec.Struct, frozen=True):
    """renditions: one for each rung asked for. frames: that were decoded and shown; lost: that could not be decoded."""

    number: int
    renditions: tuple[Made, ...]
    frames: int
    lost: int

    @property
    def files(self) -> tuple[str, ...]:
        return tuple(name for made in self.renditions for name in made.files)


class AudioResult(msgspec.Struct, frozen=True):
    """The whole track in one piece. lost: packets that could not be decoded; silence stands for them."""

    rendition: Made
    lost: int

    @property
    def files(self) -> tuple[str, ...]:
        return self.rendition.files


class Candidate(msgspec.Struct, frozen=True):
    """A picture that may stand for the video. at: seconds; score: 0.0 to 1.0, more is better."""

    name: str
    at: float
    score: float
    width: int
    height: int


class Pictures(msgspec.Struct, frozen=True):
    """Files in the folder. best: the candidate with the highest score, "" when there is none. storyboard: a WebVTT file
    whose cues are parts of `sprites`; preview: an animated WebP. Names are "" where none could be made."""

    candidates: tuple[Candidate, ...]
    best: str
    storyboard: str
    sprites: tuple[str, ...]
    preview: str

    @property
    def files(self) -> tuple[str, ...]:
        names = (*(c.name for c in self.candidates), self.storyboard, *self.sprites, self.preview)
        return tuple(name for name in names if name)
