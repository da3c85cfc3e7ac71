"""The demo's picture, 1280x720 in YUV 4:2:0: a clock for people, the same time as blocks for programs.

The block code is one row of 56 cells of equal width, dark or bright, in a fixed place of the picture:

    left edge 0.0625 of the width, right edge 0.9375; top 0.875 of the height, bottom 0.95
    so the centre of cell i is at x = 0.0625 + 0.875 * (i + 0.5) / 56, y = 0.9125

    cells  0 to  1   bright, dark              what "bright" and "dark" are in this picture
    cells  2 to 45   44 bits, highest first    Unix time of the frame in milliseconds, bright = 1
    cells 46 to 53   8 bits, highest first     CRC-8 (polynomial 0x07, start 0) of that time as 6 bytes, big-endian
    cells 54 to 55   dark, bright              the same again

To read it, take the shade at the centre of each cell (a mean of a few pixels is better), call bright what is above the
middle between cells 0 and 1, and believe the result when the last two cells and the checksum agree. A cell is 20 pixels
wide in the full picture, and still 5 in one of 320. `read_code` is this in Python.

Everything that does not move is drawn once; a frame changes a few digits, the bar of the second and the blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from server.demo import font

WIDTH = 1280
HEIGHT = 720
FRAME_RATE = 30

CODE_LEFT, CODE_RIGHT = 0.0625, 0.9375
CODE_TOP, CODE_BOTTOM = 0.875, 0.95
CELLS = 56
_TIME_BITS = 44
_CELL_WIDTH = int((CODE_RIGHT - CODE_LEFT) * WIDTH) // CELLS

BRIGHT, DARK = 235, 16
"""White and black of the limited range."""
_PAPER = 40

_CLOCK_SCALE = 14
_CLOCK_PITCH = (font.WIDTH + 1) * _CLOCK_SCALE
_CLOCK_TEXT = "00:00:00.000"
_CLOCK_LEFT = (WIDTH - len(_CLOCK_TEXT) * _CLOCK_PITCH + _CLOCK_SCALE) // 2
_CLOCK_TOP = 270
_DATE_SCALE = 6
_BAR_TOP, _BAR_BOTTOM = 470, 486


class Picture:
    """One luma plane that `draw` brings to a time, and two colour planes that never change."""

    def __init__(self) -> None:
        self._luma = bytearray(_background())
        self.blue, self.red = _colours()
        self._digits = {character: font.glyph(character, _CLOCK_SCALE, BRIGHT, _PAPER) for character in "0123456789:."}
        self._bright = bytes([BRIGHT]) * _CELL_WIDTH
        self._dark = bytes([DARK]) * _CELL_WIDTH
        self._shown = " " * len(_CLOCK_TEXT)
        self._day = ""

    def draw(self, milliseconds: int) -> bytes:
        """The luma plane at a Unix time, HEIGHT lines of WIDTH bytes."""
        moment = datetime.fromtimestamp(milliseconds // 1000, UTC)
        self._draw_clock(f"{moment:%H:%M:%S}.{milliseconds % 1000:03}")
        self._draw_day(f"{moment:%Y-%m-%d} UTC")
        self._draw_bar(milliseconds % 1000)
        self._draw_code(code(milliseconds))
        return bytes(self._luma)

    def _draw_clock(self, text: str) -> None:
        for place, (new, old) in enumerate(zip(text, self._shown, strict=True)):
            if new != old:
                _blit(self._luma, self._digits[new], _CLOCK_LEFT + place * _CLOCK_PITCH, _CLOCK_TOP)
        self._shown = text

    def _draw_day(self, text: str) -> None:
        if text != self._day:
            _write(self._luma, text, _CLOCK_TOP + 120, _DATE_SCALE, 190)
            self._day = text

    def _draw_bar(self, of_second: int) -> None:
        left, right = int(CODE_LEFT * WIDTH), int(CODE_RIGHT * WIDTH)
        filled = (right - left) * of_second // 1000
        line = bytes([180]) * filled + bytes([70]) * (right - left - filled)
        _blit(self._luma, [line] * (_BAR_BOTTOM - _BAR_TOP), left, _BAR_TOP)

    def _draw_code(self, cells: Sequence[bool]) -> None:
        line = b"".join(self._bright if cell else self._dark for cell in cells)
        top, bottom = int(CODE_TOP * HEIGHT), int(CODE_BOTTOM * HEIGHT)
        _blit(self._luma, [line] * (bottom - top), int(CODE_LEFT * WIDTH), top)


def code(milliseconds: int) -> list[bool]:
    """The 56 cells for a Unix time; True is bright."""
    time_bits = [bool(milliseconds >> bit & 1) for bit in reversed(range(_TIME_BITS))]
    check = _crc8(milliseconds.to_bytes(6, "big"))
    return [True, False, *time_bits, *(bool(check >> bit & 1) for bit in reversed(range(8))), False, True]


def read_code(luma: bytes, stride: int, width: int, height: int) -> int | None:
    """The Unix time in ms in a luma plane of any size; None when the blocks do not hold together."""
    row = int((CODE_TOP + CODE_BOTTOM) / 2 * height)
    shades = []
    for cell in range(CELLS):
        column = int((CODE_LEFT + (CODE_RIGHT - CODE_LEFT) * (cell + 0.5) / CELLS) * width)
        near = [luma[(row + y) * stride + column + x] for y in (-1, 0, 1) for x in (-1, 0, 1)]
        shades.append(sum(near) / len(near))
    middle = (shades[0] + shades[1]) / 2
    cells = [shade > middle for shade in shades]
    milliseconds = 0
    for cell in cells[2 : 2 + _TIME_BITS]:
        milliseconds = milliseconds << 1 | cell
    return milliseconds if shades[0] - shades[1] > 40 and cells == code(milliseconds) else None


def _crc8(data: bytes) -> int:
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value << 1 ^ 0x07) & 0xFF if value & 0x80 else value << 1
    return value


def _background() -> bytearray:
    luma = bytearray([_PAPER]) * (WIDTH * HEIGHT)
    # Shades and fine lines, so that focus, banding and scaling can be judged.
    for line in range(24, 104):
        for step in range(16):
            left = 80 + step * 70
            luma[line * WIDTH + left : line * WIDTH + left + 70] = bytes([DARK + step * (BRIGHT - DARK) // 15]) * 70
    for line in range(530, 600):
        for band, period in enumerate((2, 4, 8, 16)):
            left = 80 + band * 280
            half = bytes([BRIGHT]) * (period // 2) + bytes([DARK]) * (period // 2)
            luma[line * WIDTH + left : line * WIDTH + left + 240] = (half * 120)[:240]
    _write(luma, "SOCIAL FLOW DEMO", 150, 10, 200)
    return luma


def _colours() -> tuple[bytes, bytes]:
    """The blue and red planes, half as wide and high: a quiet tint, warmer to the right; the code stays grey."""
    width = WIDTH // 2
    tinted_blue = bytes(142 - 12 * x // width for x in range(width))
    tinted_red = bytes(112 + 28 * x // width for x in range(width))
    grey = bytes([128]) * width
    code_line = int(CODE_TOP * HEIGHT) // 2 - 8
    lines = HEIGHT // 2
    return (
        tinted_blue * code_line + grey * (lines - code_line),
        tinted_red * code_line + grey * (lines - code_line),
    )


def _write(luma: bytearray, text: str, top: int, scale: int, ink: int) -> None:
    """A centred line of text."""
    pitch = (font.WIDTH + 1) * scale
    left = (WIDTH - len(text) * pitch + scale) // 2
    for place, character in enumerate(text):
        _blit(luma, font.glyph(character, scale, ink, _PAPER), left + place * pitch, top)


def _blit(luma: bytearray, lines: Sequence[bytes], left: int, top: int) -> None:
    start = top * WIDTH + left
    for line in lines:
        luma[start : start + len(line)] = line
        start += WIDTH
