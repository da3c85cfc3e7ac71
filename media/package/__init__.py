"""Packaging: live samples in; CMAF segments and parts, HLS and DASH, and a recording out."""

from media.package.answer import IMMUTABLE, Answer
from media.package.live import LivePackage, PackageOptions
from media.package.recording import Recording, recording_from_journal
from media.package.shelf import Shelf

__all__ = ["IMMUTABLE", "Answer", "LivePackage", "PackageOptions", "Recording", "Shelf", "recording_from_journal"]
