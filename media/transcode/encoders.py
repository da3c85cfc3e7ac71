"""Encoders in hardware by name: which there are, and how each is told what software is told. Pure.

Children import it, so it imports next to nothing.
"""

from __future__ import annotations

import msgspec

FAMILIES = ("nvenc", "qsv", "amf", "videotoolbox", "v4l2m2m")
"""In the order in which `auto` tries them. VAAPI has to have its pictures in the memory of the device, which the
libraries we use cannot arrange for encoders."""
CODECS = {"h264": "h264", "hevc": "hevc", "av1": "av1"}
SPEEDS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium")
AVERAGE = 0.75
"""The mean bit rate that those are told which know no constant quality, as a share of the peak."""


class Asked(msgspec.Struct):
    """What the child is to try."""

    codec: str
    families: tuple[str, ...]


class Tried(msgspec.Struct, frozen=True):
    """fault: why it cannot be used, "" when it can."""

    family: str
    fault: str


def chosen(setting: str) -> tuple[str, ...]:
    """Of VIDEO_ENCODER: which families are tried. Raises ValueError."""
    if setting == "software":
        return ()
    if setting == "auto":
        return FAMILIES
    if setting in FAMILIES:
        return (setting,)
    raise ValueError(f"it takes software, auto, {', '.join(FAMILIES)}")


def encoder_of(family: str, codec: str) -> str:
    """libavcodec's name."""
    return f"{CODECS[codec]}_{family}"


def pixels_of(family: str) -> str:
    return "nv12" if family in ("qsv", "amf", "v4l2m2m") else "yuv420p"


def told(family: str, *, preset: str, quality: int, peak: int, buffer: int) -> dict[str, str]:
    """The options of one encoder: key frames where it is told, no B-frames, quality below a peak. peak: bit/s; buffer:
    bits."""
    speed = SPEEDS.index(preset) if preset in SPEEDS else len(SPEEDS) - 1
    common = {"maxrate": str(peak), "bufsize": str(buffer), "bf": "0", "g": "65535"}
    mean = str(round(peak * AVERAGE))
    match family:
        case "nvenc":
            return common | {
                "preset": f"p{speed + 1}", "rc": "vbr", "cq": str(quality), "b": "0", "forced-idr": "1",
                "no-scenecut": "1",
            }  # fmt: skip
        case "qsv":
            return common | {
                "preset": SPEEDS[max(speed, 2)], "b": mean, "forced_idr": "1", "adaptive_i": "0", "adaptive_b": "0",
                "async_depth": "4",
            }  # fmt: skip
        case "amf":
            word = "speed" if speed < 3 else "balanced"
            return common | {"usage": "transcoding", "quality": word, "rc": "vbr_peak", "b": mean, "forced_idr": "1"}
        case "videotoolbox":
            return common | {"b": mean, "allow_sw": "0", "realtime": "0"}
    return common | {"b": mean}
