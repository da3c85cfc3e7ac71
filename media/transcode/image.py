"""Pictures that people upload, made anew in a child process. `Images` asks; `python -m media.transcode.image` decodes.

Nothing of the file goes on: the child decodes its pixels and encodes new pictures of them, so that no place, no device,
no second format behind the picture and no flaw in somebody's viewer travels with it. Every picture gets a child of its
own, which ends with it: what takes the decoder over, or down, has met nobody else's picture.
"""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from media.transcode.child import Child, ChildFailed
from media.transcode.inside import LENGTH, limit_child

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
MAX_SIDE = 16_384
MAX_PIXELS = 64_000_000
REQUEST_LIMIT = 64 * 1024 * 1024
SECONDS = 20.0
QUALITY = 82
ORIENTATION = 0x0112
"""The tag of Exif 2.32, section 4.6.4."""
LYING = (5, 6, 7, 8)
"""Its values for a camera that was held upright."""
AT_ONCE = 2
MOST_WAITING = 16


class Upload(msgspec.Struct, array_like=True):
    """data: the file as it came. sizes: width and height of the pictures to make, in pixels; all of one shape."""

    data: bytes
    sizes: list[tuple[int, int]]


class Made(msgspec.Struct, array_like=True, tag="made"):
    """WebP pictures in the order of the sizes asked for."""

    pictures: list[bytes]


class Refused(msgspec.Struct, array_like=True, tag="refused"):
    """kind: `type` (not a picture of the formats that are taken), `size` (too many pixels) or `broken`."""

    kind: str
    reason: str


class BadImage(Exception):
    """The file is refused. `kind` as in Refused; the text is for the person who sent it."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


class ImagesBusy(Exception):
    """Too many pictures wait already."""


class Images:
    """`at_once` children; more pictures wait their turn, but not more than MOST_WAITING."""

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._turns = asyncio.Semaphore(at_once)
        self._waiting = 0
        self._made = 0
        self._refused = 0
        self._failed = 0

    async def squares(self, data: bytes, sizes: Sequence[int]) -> list[bytes]:
        """WebP squares cut from the middle of the picture, with these sides. Raises BadImage, ImagesBusy.

        A decoder that dies of the file, or takes longer than SECONDS, means BadImage too.
        """
        return await self._pictures(data, [(size, size) for size in sizes])

    async def cover(self, data: bytes, width: int, height: int) -> bytes:
        """A WebP picture of this size, cut from the middle. Raises as `squares`."""
        (picture,) = await self._pictures(data, [(width, height)])
        return picture

    async def _pictures(self, data: bytes, sizes: list[tuple[int, int]]) -> list[bytes]:
        if self._waiting >= MOST_WAITING:
            raise ImagesBusy
        self._waiting += 1
        try:
            async with self._turns:
                answer = await self._ask(msgspec.msgpack.encode(Upload(data, sizes)))
        finally:
            self._waiting -= 1
        if isinstance(answer, Refused):
            self._refused += 1
            raise BadImage(answer.kind, answer.reason)
        self._made += 1
        return answer.pictures

    def describe(self) -> dict[str, object]:
        return {"waiting": self._waiting, "made": self._made, "refused": self._refused, "failed": self._failed}

    async def _ask(self, request: bytes) -> Made | Refused:
        child = Child("media.transcode.image", seconds=SECONDS)
        try:
            return msgspec.msgpack.decode(await child.ask(request), type=Made | Refused)
        except (ChildFailed, msgspec.MsgspecError):
            self._failed += 1
            return Refused("broken", "The picture cannot be decoded.")
        finally:
            await child.close()


def make(upload: Upload) -> Made | Refused:
    """In the child. Raises whatever a decoder makes of hostile bytes."""
    from PIL import Image, UnidentifiedImageError  # noqa: PLC0415  the parent must not load it

    Image.MAX_IMAGE_PIXELS = None  # measured below, before a pixel is decoded
    try:
        picture: Image.Image = Image.open(io.BytesIO(upload.data), formats=FORMATS)
    except UnidentifiedImageError:
        return Refused("type", "This is no picture in JPEG, PNG, WebP or GIF.")
    width, height = picture.size
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        return Refused("size", f"The picture has {width} x {height} pixels; {MAX_PIXELS // 1_000_000} million is most.")
    if min(width, height) < 1:
        return Refused("broken", "The picture has no pixels.")
    largest = max(upload.sizes)
    orientation = picture.getexif().get(ORIENTATION)
    # what is cut out lies across in a picture that was taken lying on its side
    wide, high = largest[::-1] if orientation in LYING else largest
    picture.draft("RGB", (wide * 2, high * 2))  # a JPEG of many pixels is scaled while it is decoded
    picture.load()  # of an animation the first frame
    profile = picture.info.get("icc_profile")
    first = picture if picture.mode in ("RGB", "RGBA", "L", "CMYK") else _plain(picture)
    across, down = min(first.width, first.height * wide / high), min(first.height, first.width * high / wide)
    left, top = (first.width - across) / 2, (first.height - down) / 2
    factor = min(1.0, wide / across)
    size = max(1, round(across * factor)), max(1, round(down * factor))
    middle = (left, top, left + across, top + down)
    cut = first.resize(size, Image.Resampling.LANCZOS, middle, reducing_gap=3.0)
    cut.info.update(first.info)
    cut = _turned(_plain(_to_srgb(cut, profile)), orientation)
    return Made([_webp(cut.resize(size, Image.Resampling.LANCZOS)) for size in upload.sizes])


def _turned(picture: Image.Image, orientation: object) -> Image.Image:
    """As the camera was held."""
    from PIL import Image  # noqa: PLC0415

    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    turn = turns.get(orientation) if isinstance(orientation, int) else None
    return picture if turn is None else picture.transpose(turn)


def _to_srgb(picture: Image.Image, profile: Any) -> Image.Image:
    """The colours as they were meant. A profile that is broken is left out, as browsers do."""
    if not isinstance(profile, bytes) or picture.mode not in ("RGB", "RGBA", "CMYK", "L"):
        return picture
    from PIL import ImageCms  # noqa: PLC0415

    try:
        made = ImageCms.profileToProfile(
            picture,
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            outputMode="RGBA" if picture.mode == "RGBA" else "RGB",
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        return picture
    return picture if made is None else made


def _plain(picture: Image.Image) -> Image.Image:
    """Eight bits a channel, with or without transparency."""
    if picture.mode in ("I;16", "I;16B", "I;16L", "I", "F"):
        scaled = picture.convert("F").point(lambda value: value / 257)
        return scaled.convert("L").convert("RGB")
    clear = picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info
    wanted = "RGBA" if clear else "RGB"
    return picture if picture.mode == wanted else picture.convert(wanted)


def _webp(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.info.clear()
    picture.save(file, "WEBP", quality=QUALITY, method=4)
    return file.getvalue()


def answer(request: bytes) -> bytes:
    """In the child: never raises."""
    try:
        made = make(msgspec.msgpack.decode(request, type=Upload))
    except Exception:  # truncated, out of memory, or worse: this picture is lost
        made = Refused("broken", "The picture is damaged or incomplete.")
    return msgspec.msgpack.encode(made)


def main() -> None:
    limit_child()
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    while head := requests.read(LENGTH.size):
        (length,) = LENGTH.unpack(head)
        if length > REQUEST_LIMIT:
            return
        made = answer(requests.read(length))
        answers.write(LENGTH.pack(len(made)) + made)
        answers.flush()


if __name__ == "__main__":
    main()
