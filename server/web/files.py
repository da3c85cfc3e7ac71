"""The static files of the pages, read once at start and kept in memory with their gzip and ETag.

Owns nothing but bytes; dies with the application. Pages name their files under `/assets/{version}/`, where the
version is a hash over all of them: such an address never changes its bytes, so browsers keep it for good, and a new
release is a new address. The same files without the version are there to be revalidated.
"""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}

VENDOR = {"vendor/hls.mjs": "hls.js/dist/hls.min.mjs", "vendor/tus.js": "tus-js-client/dist/tus.min.js"}
"""Name under /assets → file in node_modules."""


@dataclass(frozen=True, slots=True)
class StaticFile:
    """One file: its bytes, the same gzipped when that is smaller, and a strong validator of each form."""

    body: bytes
    gzip: bytes | None
    content_type: str
    etag: str


def read_file(name: str, body: bytes) -> StaticFile:
    suffix = Path(name).suffix
    content_type = TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    packed = gzip.compress(body, 6, mtime=0) if not content_type.startswith("image/png") else body
    return StaticFile(
        body=body,
        gzip=packed if len(packed) < len(body) * 0.9 else None,
        content_type=content_type,
        etag=hashlib.sha256(body).hexdigest()[:20],
    )


class Bundle:
    """Every page and asset. Missing vendor files are listed in `missing`; the pages then say what to do."""

    def __init__(self, pages: Mapping[str, StaticFile], assets: Mapping[str, StaticFile], version: str) -> None:
        self.pages = pages
        self.assets = assets
        self.version = version
        self.missing = tuple(name for name in VENDOR if name not in assets)

    def describe(self) -> dict[str, object]:
        return {"version": self.version, "files": len(self.assets), "missing": list(self.missing)}


def load_bundle(root: Path, node_modules: Path) -> Bundle:
    """Read and compress everything (about 0.2 s of CPU and file I/O: call it in a thread)."""
    contents = dict(_own_files(root / "assets"))
    for name, source in VENDOR.items():
        path = node_modules / source
        if path.is_file():
            contents[name] = _without_source_map(path.read_bytes())
    digest = hashlib.sha256()
    for name in sorted(contents):
        digest.update(f"{name}\0{len(contents[name])}\0".encode())
        digest.update(contents[name])
    version = digest.hexdigest()[:12]
    assets = {name: read_file(name, body) for name, body in contents.items()}
    pages = {}
    parts = {path.stem: path.read_text(encoding="utf-8") for path in sorted((root / "pages" / "parts").glob("*.html"))}
    for path in sorted((root / "pages").glob("*.html")):
        text = path.read_text(encoding="utf-8")
        for part, part_text in parts.items():
            text = text.replace(f"{{{{{part}}}}}", part_text.strip())
        pages[path.stem] = read_file(path.name, text.replace("{{assets}}", f"/assets/{version}").encode())
    return Bundle(pages, assets, version)


def _own_files(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            yield path.relative_to(folder).as_posix(), path.read_bytes()


def _without_source_map(body: bytes) -> bytes:
    """Source maps are not served, so nobody is sent looking for one."""
    head, mark, _ = body.rpartition(b"//# sourceMappingURL=")
    return head if mark else body
