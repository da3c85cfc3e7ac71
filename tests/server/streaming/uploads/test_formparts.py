"""A form, however it is cut up on its way, and what is none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.kit.problems import Invalid
from server.streaming.uploads.errors import UploadTooLarge
from server.streaming.uploads.formparts import FormParts

KIND = "multipart/form-data; boundary=cut"
NEARLY = b"\r\n--cu\r\n--\r\r\n-\r\n--cuu\n--cut"
"""Much that begins as a boundary does."""


def part(head: bytes, data: bytes) -> bytes:
    return b"--cut\r\nContent-Disposition: form-data; " + head + b"\r\n\r\n" + data + b"\r\n"


WHOLE = part(b'name="title"', "Höhe".encode()) + part(b'name="file"; filename="a.mp4"', NEARLY) + b"--cut--\r\n"


def read(*chunks: bytes, kind: str = KIND, most: int = 1 << 20) -> list[tuple[str, str, bytes]]:
    async def source() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    async def run() -> list[tuple[str, str, bytes]]:
        parts, found = FormParts(kind, source(), most=most), []
        while (each := await parts.next()) is not None:
            found.append((each.name, each.filename, b"".join([block async for block in each.blocks()])))
        return found

    return asyncio.run(run())


@given(st.lists(st.integers(0, len(WHOLE)), max_size=12))
def test_wherever_it_is_cut(places: list[int]) -> None:
    cuts = sorted({0, *places, len(WHOLE)})
    chunks = [WHOLE[begin:end] for begin, end in pairwise(cuts)]
    assert read(*chunks) == [("title", "", "Höhe".encode()), ("file", "a.mp4", NEARLY)]


def test_byte_by_byte_with_something_before_and_behind() -> None:
    form = b"For old clients.\r\n" + WHOLE + b"Thank you."
    assert len(read(*(form[at : at + 1] for at in range(len(form))))) == 2


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b'name="file"; filename="H\xc3\xb6he.mp4"', "Höhe.mp4"),
        (b"name=\"file\"; filename*=utf-8''H%C3%B6he.mp4", "Höhe.mp4"),
        (b"name=file; filename=plain.mp4", "plain.mp4"),
        (b'name="file"; filename="a%22b.mp4"', 'a"b.mp4'),
        (b'name="file"', ""),
    ],
)
def test_names_of_files(head: bytes, name: str) -> None:
    assert read(part(head, b"x") + b"--cut--\r\n") == [("file", name, b"x")]


@pytest.mark.parametrize(
    "form",
    [
        WHOLE[:-8],  # breaks off
        WHOLE[:40],
        b"{}",
        b"--cut\r\n" + b"X: " + b"y" * 100_000,
        b"--cut\r\n" + b"X: y\r\n" * 100,
        b"--cut\r\nContent-Type: text/plain\r\n\r\nx\r\n--cut--\r\n",  # of no field
        b'--cut\r\nContent-Disposition: attachment; name="file"\r\n\r\nx\r\n--cut--\r\n',
        b"--cut\r\nContent-Disposition: form-data; name=\xff\r\n\r\nx\r\n--cut--\r\n",
        part(b'name="title"', b"x") * 21 + b"--cut--\r\n",
        b"--cut\nContent-Disposition: form-data; name=a\n\nx\n--cut--\n",
    ],
)
def test_what_is_no_form(form: bytes) -> None:
    with pytest.raises(Invalid, match="is no whole multipart/form-data"):
        read(form)


@pytest.mark.parametrize(
    "kind", ["multipart/form-data", "multipart/form-data; boundary=", f"multipart/form-data; boundary={'x' * 71}"]
)
def test_a_type_without_a_boundary_that_can_be_used(kind: str) -> None:
    with pytest.raises(Invalid, match="no boundary that can be used"):
        read(WHOLE, kind=kind)


def test_nothing_before_or_behind_the_parts_is_endless() -> None:
    for form in (b"preamble " * 1000, WHOLE + b"epilogue " * 1000):
        with pytest.raises(UploadTooLarge):
            read(*(form[at : at + 100] for at in range(0, len(form), 100)), most=5000)
