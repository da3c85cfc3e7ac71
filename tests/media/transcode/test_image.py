"""Pictures from strangers: what comes out is new, square and small; what is hostile costs its sender an answer."""

from __future__ import annotations

import asyncio
import io
import struct
import zlib
from typing import Any

import pytest
from PIL import Image, ImageCms, PngImagePlugin

from media.transcode import image
from media.transcode.image import BadImage, Images, ImagesBusy

SIZES = (64, 256, 512)
RED, GREEN, BLUE, WHITE = (200, 30, 30), (30, 160, 60), (40, 60, 200), (255, 255, 255)


def file(picture: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def corners(width: int = 300, height: int = 300) -> Image.Image:
    """Four colours: red and green above, blue and white below."""
    made = Image.new("RGB", (width, height), WHITE)
    for colour, place in ((RED, (0, 0)), (GREEN, (width // 2, 0)), (BLUE, (0, height // 2))):
        made.paste(colour, (*place, place[0] + width // 2, place[1] + height // 2))
    return made


def near(pixel: Any, colour: tuple[int, int, int], by: int = 25) -> bool:
    return all(abs(one - other) <= by for one, other in zip(pixel, colour, strict=False))


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data), formats=["WEBP"])


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack("!I", len(body)) + kind + body + struct.pack("!I", zlib.crc32(kind + body))


def png_header(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack("!IIBBBBB", width, height, 8, 2, 0, 0, 0))


@pytest.fixture
def images() -> Images:
    return Images()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
async def test_every_format_becomes_three_squares(images: Images, kind: str) -> None:
    made = await images.squares(file(corners(), kind), SIZES)
    for size, data in zip(SIZES, made, strict=True):
        picture = opened(data)
        assert picture.size == (size, size)
        pixels = picture.convert("RGB")
        assert near(pixels.getpixel((size // 4, size // 4)), RED)
        assert near(pixels.getpixel((3 * size // 4, size // 4)), GREEN)
        assert near(pixels.getpixel((size // 4, 3 * size // 4)), BLUE)


async def test_the_middle_of_a_wide_picture(images: Images) -> None:
    wide = Image.new("RGB", (900, 300), BLUE)
    wide.paste(RED, (300, 0, 600, 300))
    made = opened((await images.squares(file(wide, "PNG"), [64]))[0]).convert("RGB")
    assert near(made.getpixel((2, 32)), RED)
    assert near(made.getpixel((61, 32)), RED)


async def test_the_first_frame_of_an_animation(images: Images) -> None:
    frames = [Image.new("RGB", (80, 80), colour) for colour in (RED, GREEN)]
    animated = file(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=100)
    made = opened((await images.squares(animated, [64]))[0])
    assert getattr(made, "n_frames", 1) == 1
    assert near(made.convert("RGB").getpixel((32, 32)), RED)


async def test_a_picture_stands_as_its_camera_was_held(images: Images) -> None:
    exif = Image.Exif()
    exif[image.ORIENTATION] = 6  # shown turned by 90 degrees clockwise
    made = opened((await images.squares(file(corners(), "JPEG", exif=exif), [64]))[0]).convert("RGB")
    assert near(made.getpixel((16, 16)), BLUE)
    assert near(made.getpixel((48, 16)), RED)
    assert near(made.getpixel((48, 48)), GREEN)


async def test_nothing_but_pixels_goes_on(images: Images) -> None:
    exif = Image.Exif()
    exif[0x010F] = "A-CAMERA-OF-MINE"
    exif.get_ifd(0x8825)[29] = "1999:12:31"
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    jpeg = file(corners(), "JPEG", exif=exif, icc_profile=srgb, comment=b"MY-COMMENT")
    text = PngImagePlugin.PngInfo()
    text.add_text("Author", "MY-COMMENT")
    for data in (
        jpeg + b"PK\x03\x04<script>alert(1)</script>MY-COMMENT",  # something else behind the picture
        file(corners(), "PNG", pnginfo=text, exif=exif),
    ):
        for made in await images.squares(data, SIZES):
            for trace in (b"A-CAMERA-OF-MINE", b"1999:12:31", b"MY-COMMENT", b"<script>", b"EXIF", b"ICCP", b"XMP "):
                assert trace not in made


async def test_transparency_depth_palettes_and_inks(images: Images) -> None:
    clear = Image.new("RGBA", (100, 100), (*RED, 0))
    clear.paste((*RED, 255), (0, 0, 100, 50))
    made = opened((await images.squares(file(clear, "PNG"), [64]))[0])
    assert made.mode == "RGBA"
    assert made.getpixel((32, 60))[3] == 0  # type: ignore[index]
    deep = Image.new("I;16", (90, 90), 65535 // 2)
    assert near(opened((await images.squares(file(deep, "PNG"), [64]))[0]).convert("RGB").getpixel((9, 9)), (127,) * 3)
    palette = file(corners().convert("P"), "PNG")
    assert near(opened((await images.squares(palette, [64]))[0]).convert("RGB").getpixel((9, 9)), RED)
    inks = file(corners().convert("CMYK"), "JPEG")
    assert near(opened((await images.squares(inks, [64]))[0]).convert("RGB").getpixel((9, 9)), RED)
    grey = file(Image.new("LA", (70, 70), (90, 255)), "PNG")
    assert near(opened((await images.squares(grey, [64]))[0]).convert("RGB").getpixel((9, 9)), (90, 90, 90))


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "type"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'><script>1</script></svg>", "type"),
        (b"<?xml version='1.0'?><svg/>", "type"),
        (b"%PDF-1.7 " + bytes(200), "type"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "type"),
        (file(corners(), "TIFF"), "type"),
        (file(corners(), "BMP"), "type"),
        (b"\x00\x00\x00\x18ftypavif" + bytes(400), "type"),
        (png_header(60_000, 60_000) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b""), "size"),
        (png_header(9000, 9000) + chunk(b"IDAT", b""), "size"),
        (png_header(100, 100) + chunk(b"IDAT", b""), "broken"),
        (file(corners(1000, 1000), "PNG")[:-600], "broken"),
        (file(corners(1000, 1000), "JPEG")[:3000], "broken"),
        (file(corners(), "WEBP")[:90], "broken"),
        (
            b"GIF89a"
            + struct.pack("<HH3x", 65535, 65535)
            + b","
            + struct.pack("<4HB", 0, 0, 65535, 65535, 0)
            + b"\x02\x02\x4c\x01\x00;",
            "size",
        ),
    ],
)
async def test_what_is_refused(images: Images, data: bytes, kind: str) -> None:
    with pytest.raises(BadImage) as refused:
        await images.squares(data, SIZES)
    assert refused.value.kind == kind
    assert str(refused.value)
    # and the next picture is made
    assert await images.squares(file(corners(64, 64), "PNG"), [64])


async def test_the_most_pixels_that_are_taken(images: Images) -> None:
    """Within the child's memory, in every format that holds them."""
    large = Image.new("RGB", (8000, 8000), GREEN)
    for data in (file(large, "PNG", compress_level=1), file(large, "JPEG", progressive=True)):
        made = opened((await images.squares(data, [64]))[0]).convert("RGB")
        assert near(made.getpixel((32, 32)), GREEN)


async def test_a_decoder_that_dies_costs_one_picture(images: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "Child", lambda module, seconds: Dying())
    with pytest.raises(BadImage, match="cannot be decoded"):
        await images.squares(b"x", [64])
    monkeypatch.undo()
    assert await images.squares(file(corners(64, 64), "PNG"), [64])


class Dying:
    async def ask(self, request: bytes) -> bytes:
        raise image.ChildFailed("gone")

    async def close(self) -> None:
        pass


async def test_a_crowd_waits_and_a_larger_one_is_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    open_ = asyncio.Event()

    class Slow(Dying):
        async def ask(self, request: bytes) -> bytes:
            await open_.wait()
            return image.answer(request)

    monkeypatch.setattr(image, "Child", lambda module, seconds: Slow())
    images = Images(at_once=1)
    data = file(corners(64, 64), "PNG")
    waiting = [asyncio.create_task(images.squares(data, [64])) for _ in range(image.MOST_WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(ImagesBusy):
        await images.squares(data, [64])
    open_.set()
    assert all(await asyncio.gather(*waiting))
