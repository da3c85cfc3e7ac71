"""`python -m media.vod.pictures`: pictures to choose from, a storyboard for the seek bar, three seconds that move.

One pass of small pictures at even distances makes the storyboard; the best of each part of the video, by how sharp, how
rich and how far from black it is, is a candidate. Of a video with few key frames only so many pictures are decoded as
`WORK` allows; from then on the nearest key frame before stands for a moment.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import msgspec

from media.samples import VIDEO_TIMESCALE
from media.vod.feed import Feed
from media.vod.inside import Parent, serve
from media.vod.plan import Plan
from media.vod.prepare import Prepare
from media.vod.results import Candidate, Pictures
from media.vod.source import load

if TYPE_CHECKING:
    from av import VideoFrame
    from PIL import Image

TILES, TILE_SECONDS, TILE_SIDE = 100, 2.0, 160
"""At most so many tiles, at least so far apart, in seconds; their longer side in pixels."""
COLUMNS, ROWS = 5, 5
MEASURED_SIDE, THUMB_SIDE, PREVIEW_SIDE = 320, 1280, 320
CANDIDATES = 5
PREVIEW_SECONDS, PREVIEW_RATE, PREVIEW_QUALITY = 3.0, 8, 50
JPEG_QUALITY = 82
WORK = 4000 * 1280 * 720
"""Pixels that may be decoded between key frames in all."""


class Shot(NamedTuple):
    at: int
    picture: Image.Image


class Shots:
    """Pictures of the source at moments of the output."""

    def __init__(self, file: BinaryIO, plan: Plan, parent: Parent) -> None:
        assert plan.facts.video is not None
        self._plan = plan
        self._video = plan.facts.video
        self._feed = Feed(file, plan, parent.limits)
        self._prepare = Prepare(plan, self._feed.stream, self.size(THUMB_SIDE)[1])
        self._left = WORK
        self._keys = [self._feed.ticks(key) for key in self._video.keys]

    def size(self, side: int) -> tuple[int, int]:
        """Of the upright picture with this longer side; never larger than the source."""
        width, height = self._video.width, self._video.height
        factor = min(1.0, side / max(width, height))
        return max(2, round(width * factor)), max(2, round(height * factor))

    def at(self, moments: Iterable[int], side: int) -> Iterator[Shot]:
        """For each moment, in order, what is shown then. Moments where nothing can be decoded are left out."""
        waiting = list(moments)
        while waiting:
            group = self._together(waiting)
            del waiting[: len(group)]
            yield from self._one_pass(group, side)

    def _together(self, moments: list[int]) -> list[int]:
        """Those from the first on that are decoded in one pass: no key frame comes between them."""
        following = next((key for key in self._keys if key > moments[0]), None)
        if following is None:
            return list(moments)
        return list(itertools.takewhile(lambda moment: moment < following, moments)) or moments[:1]

    def _one_pass(self, group: list[int], side: int) -> Iterator[Shot]:
        width, height = self.size(side)
        frames = self._feed.frames(self._feed.packets(group[0]), group[-1])
        last: Shot | None = None
        place = 0
        for at, frame in self._prepare.pictures(frames):
            while place < len(group) and at > group[place] and last is not None:
                yield last._replace(at=group[place])
                place += 1
            if place == len(group):
                return
            wanted = at <= group[place] and (self._left <= 0 or self._soon(at, group[place]))
            if wanted or last is None:
                last = Shot(at, self._image(frame, width, height))
            if self._left <= 0:
                break
            self._left -= frame.width * frame.height
        for moment in group[place:]:
            if last is not None:
                yield last._replace(at=moment)

    def _soon(self, at: int, moment: int) -> bool:
        """Whether this picture may be the one: only such are converted."""
        return moment - at <= 2 * VIDEO_TIMESCALE / max(self._video.frame_rate, 1.0) or self._video.variable

    @staticmethod
    def _image(frame: VideoFrame, width: int, height: int) -> Image.Image:
        picture: Image.Image = frame.to_image(  # type: ignore[no-untyped-call]
            width=width, height=height, interpolation="BICUBIC"
        )
        return picture


def make(file: BinaryIO, plan: Plan, parent: Parent) -> Pictures:
    video = plan.facts.video
    assert video is not None
    shots = Shots(file, plan, parent)
    length = plan.boundaries[-1]
    wanted = moments(length)
    count = len(wanted)
    step = length / count
    board = Board(shots.size(TILE_SIDE), step / VIDEO_TIMESCALE, parent)
    scores: list[tuple[float, int]] = []
    for shot in shots.at(wanted, MEASURED_SIDE):
        scores.append((score(shot.picture), shot.at))
        board.add(int(shot.at / step), shot.picture)
        parent.step(0.7 * len(scores) / count)
    if not scores:
        return Pictures((), "", "", (), "")
    story = board.finish()
    candidates = []
    chosen = [max(scores[part : part + size]) for part, size in parts(len(scores), CANDIDATES)]
    ranks = {at: value for value, at in chosen}
    for number, shot in enumerate(shots.at(sorted(ranks), THUMB_SIDE)):
        name = f"thumb-{number}.jpg"
        parent.wrote(name, jpeg(shot.picture))
        seconds = round(shot.at / VIDEO_TIMESCALE, 3)
        candidates.append(Candidate(name, seconds, round(ranks[shot.at], 4), *shot.picture.size))
    parent.step(0.8)
    best = max(candidates, key=lambda candidate: candidate.score, default=None)
    preview = _preview(shots, length, best.at if best is not None else 0.0, parent)
    return Pictures(tuple(candidates), best.name if best is not None else "", story, board.sprites, preview)


def moments(length: int) -> list[int]:
    """Which moments of a video are looked at, in ticks."""
    count = max(1, min(TILES, int(length / VIDEO_TIMESCALE / TILE_SECONDS)))
    return [round((number + 0.5) * length / count) for number in range(count)]


def parts(count: int, wanted: int) -> list[tuple[int, int]]:
    """(first, size) of up to `wanted` parts of about one size."""
    edges = [round(count * number / min(wanted, count)) for number in range(min(wanted, count) + 1)]
    return [(first, last - first) for first, last in itertools.pairwise(edges)]


def score(picture: Image.Image) -> float:
    """0.0 to 1.0 by sharpness, entropy and distance from black and white."""
    from PIL import ImageFilter, ImageStat  # noqa: PLC0415

    grey = picture.convert("L")
    laplacian = grey.filter(ImageFilter.Kernel((3, 3), (0, 1, 0, 1, -4, 1, 0, 1, 0), 1, 128))
    inner = (1, 1, max(grey.width - 1, 2), max(grey.height - 1, 2))  # the outermost pixels are not filtered
    edges = ImageStat.Stat(laplacian.crop(inner))
    sharp = edges.var[0] / (edges.var[0] + 200)
    rich = min(grey.entropy() / 7.5, 1.0)
    light = ImageStat.Stat(grey).mean[0]
    shown = min(max((light - 16) / 48, 0.0), max((250 - light) / 24, 0.0), 1.0)
    return (0.45 * sharp + 0.55 * rich) * (0.1 + 0.9 * shown)


class Board:
    """Tiles of one size in sprites of COLUMNS times ROWS, and the cues that say which is where."""

    def __init__(self, tile: tuple[int, int], seconds: float, parent: Parent) -> None:
        self.sprites: tuple[str, ...] = ()
        self._tile = tile
        self._seconds = seconds
        self._parent = parent
        self._cues = ["WEBVTT\n"]
        self._sheet: list[Image.Image] = []

    def add(self, number: int, picture: Image.Image) -> None:
        from PIL import Image  # noqa: PLC0415

        width, height = self._tile
        row, column = divmod(len(self._sheet), COLUMNS)
        begin, end = (timestamp((number + more) * self._seconds) for more in (0, 1))
        name = f"story-{len(self.sprites)}.jpg#xywh={column * width},{row * height},{width},{height}"
        self._cues.append(f"\n{begin} --> {end}\n{name}\n")
        self._sheet.append(picture.resize(self._tile, Image.Resampling.BILINEAR))
        if len(self._sheet) == COLUMNS * ROWS:
            self._write()

    def finish(self) -> str:
        if self._sheet:
            self._write()
        self._parent.wrote("story.vtt", "".join(self._cues).encode())
        return "story.vtt"

    def _write(self) -> None:
        from PIL import Image  # noqa: PLC0415

        width, height = self._tile
        across, down = min(len(self._sheet), COLUMNS), -(-len(self._sheet) // COLUMNS)
        sheet = Image.new("RGB", (across * width, down * height))
        for number, tile in enumerate(self._sheet):
            row, column = divmod(number, COLUMNS)
            sheet.paste(tile, (column * width, row * height))
        name = f"story-{len(self.sprites)}.jpg"
        self._parent.wrote(name, jpeg(sheet))
        self.sprites += (name,)
        self._sheet = []


def timestamp(seconds: float) -> str:
    """Of WebVTT."""
    whole = round(seconds * 1000)
    minutes, rest = divmod(whole, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest // 1000:02d}.{rest % 1000:03d}"


def _preview(shots: Shots, length: int, around: float, parent: Parent) -> str:
    seconds = min(PREVIEW_SECONDS, length / VIDEO_TIMESCALE)
    begin = max(0.0, min(around - seconds / 2, length / VIDEO_TIMESCALE - seconds))
    count = int(seconds * PREVIEW_RATE)
    moments = [round((begin + number / PREVIEW_RATE) * VIDEO_TIMESCALE) for number in range(count)]
    pictures = [shot.picture for shot in shots.at(moments, PREVIEW_SIDE)]
    if len(pictures) < 2:
        return ""
    file = io.BytesIO()
    first, *rest = pictures
    first.save(
        file,
        "WEBP",
        save_all=True,
        append_images=rest,
        duration=1000 // PREVIEW_RATE,
        loop=0,
        quality=PREVIEW_QUALITY,
        method=2,
    )
    parent.wrote("preview.webp", file.getvalue())
    return "preview.webp"


def jpeg(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return file.getvalue()


def work(file: BinaryIO, request: bytes, parent: Parent) -> bytes:
    return msgspec.msgpack.encode(make(file, msgspec.msgpack.decode(request, type=Plan), parent))


def warm() -> None:
    """Pillow loads its formats when they are first needed."""
    from PIL import Image, ImageFilter, ImageStat  # noqa: F401, PLC0415

    load()
    Image.init()
    for kind in ("JPEG", "WEBP"):
        Image.new("RGB", (2, 2)).save(io.BytesIO(), kind)


if __name__ == "__main__":
    serve(work, warm)
