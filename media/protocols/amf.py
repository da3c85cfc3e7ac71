"""AMF0 and AMF3: the values of RTMP commands and of metadata.

Decoding is bounded: depth, number of values and length, so that a message costs its reader no more than its own size.
Objects and arrays with names become dicts, dates become milliseconds since 1970, undefined and null become None.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias, TypeVar

from media.protocols.errors import AmfError

Value: TypeAlias = "bool | float | str | bytes | list[Value] | dict[str, Value] | None"

_T = TypeVar("_T")
_Read = Callable[[int], Value]

MAX_DEPTH = 16
MAX_VALUES = 4096

_double = struct.Struct(">d").unpack_from
_u16 = struct.Struct(">H").unpack_from
_u32 = struct.Struct(">I").unpack_from


def decode(data: bytes, start: int = 0) -> list[Value]:
    """Every AMF0 value from `start` to the end. Raises AmfError."""
    reader = _Amf0(data, start)
    values: list[Value] = []
    while reader.at < len(data):
        values.append(reader.value(0))
    return values


def decode_envelope(data: bytes) -> list[Value]:
    """The body of an AMF3 command or data message: one format byte 0, then AMF0 values that may switch to AMF3."""
    return decode(data, 1 if data[:1] == b"\x00" else 0)


def encode(*values: object) -> bytes:
    """AMF0 of None, bool, int, float, str, mappings with text keys, and sequences."""
    out = bytearray()
    for value in values:
        _encode(out, value)
    return bytes(out)


def _encode(out: bytearray, value: object) -> None:
    if value is None:
        out += b"\x05"
    elif isinstance(value, bool):
        out += b"\x01\x01" if value else b"\x01\x00"
    elif isinstance(value, int | float):
        out += struct.pack(">Bd", 0, value)
    elif isinstance(value, str):
        text = value.encode()
        out += struct.pack(">BH", 2, len(text)) if len(text) < 65536 else struct.pack(">BI", 12, len(text))
        out += text
    elif isinstance(value, Mapping):
        out += b"\x03"
        for name, item in value.items():
            text = str(name).encode()
            out += struct.pack(">H", len(text)) + text
            _encode(out, item)
        out += b"\x00\x00\x09"
    elif isinstance(value, Iterable):
        items = list(value)
        out += struct.pack(">BI", 10, len(items))
        for item in items:
            _encode(out, item)
    else:
        raise TypeError(f"AMF0 cannot carry a {type(value).__name__}")


class _Reader:
    def __init__(self, data: bytes, at: int) -> None:
        self.data = data
        self.at = at
        self.count = 0

    def take(self, size: int) -> bytes:
        end = self.at + size
        if end > len(self.data):
            raise AmfError("a command ends in the middle of a value")
        piece = self.data[self.at : end]
        self.at = end
        return piece

    def byte(self) -> int:
        return self.take(1)[0]

    def double(self) -> float:
        number: float = _double(self.take(8))[0]
        return number

    def text(self, size: int) -> str:
        return self.take(size).decode("utf-8", "replace")

    def counted(self, depth: int) -> None:
        self.count += 1
        if self.count > MAX_VALUES:
            raise AmfError(f"a command holds more than {MAX_VALUES} values")
        if depth > MAX_DEPTH:
            raise AmfError(f"a command is nested more than {MAX_DEPTH} deep")


class _Amf0(_Reader):
    """AMF 0, section 2."""

    def value(self, depth: int) -> Value:
        self.counted(depth)
        marker = self.byte()
        if marker == 0x00:
            return self.double()
        if marker == 0x01:
            return self.byte() != 0
        if marker == 0x02:
            return self.text(self.short())
        if marker == 0x03:
            return self.pairs(depth)
        if marker in (0x05, 0x06, 0x0D):  # null, undefined, unsupported
            return None
        if marker == 0x07:  # a reference to an earlier object: nothing that we read needs it
            self.take(2)
            return None
        if marker == 0x08:
            self.take(4)  # a hint of the number of items, often wrong
            return self.pairs(depth)
        if marker == 0x0A:
            size = self.long()
            if size > MAX_VALUES:
                raise AmfError(f"a command holds more than {MAX_VALUES} values")
            return [self.value(depth + 1) for _ in range(size)]
        if marker == 0x0B:
            moment = self.double()
            self.take(2)
            return moment
        if marker in (0x0C, 0x0F):  # long string, XML
            return self.text(self.long())
        if marker == 0x10:
            self.take(self.short())  # the class name
            return self.pairs(depth)
        if marker == 0x11:
            inner = _Amf3(self.data, self.at, self.count)
            value = inner.value(depth + 1)
            self.at, self.count = inner.at, inner.count
            return value
        raise AmfError(f"a command holds a value of the unknown kind {marker}")

    def short(self) -> int:
        return int(_u16(self.take(2))[0])

    def long(self) -> int:
        return int(_u32(self.take(4))[0])

    def pairs(self, depth: int) -> dict[str, Value]:
        found: dict[str, Value] = {}
        while True:
            size = self.short()
            if size == 0 and self.data[self.at : self.at + 1] == b"\x09":
                self.at += 1
                return found
            name = self.text(size)
            found[name] = self.value(depth + 1)


class _Amf3(_Reader):
    """AMF 3, section 3. Its tables of strings, objects and traits live as long as one value."""

    def __init__(self, data: bytes, at: int, count: int) -> None:
        super().__init__(data, at)
        self.count = count
        self.strings: list[str] = []
        self.objects: list[Value] = []
        self.traits: list[tuple[list[str], bool]] = []

    def value(self, depth: int) -> Value:
        self.counted(depth)
        marker = self.byte()
        if marker in (0x00, 0x01):
            return None
        if marker in (0x02, 0x03):
            return marker == 0x03
        if marker == 0x04:
            number = self.u29()
            return float(number - (1 << 29) if number >= 1 << 28 else number)
        if marker == 0x05:
            return self.double()
        if marker == 0x06:
            return self.string()
        if marker in (0x07, 0x0B):  # XML
            return self.referable(self.text)
        if marker == 0x08:
            return self.referable(lambda _size: self.double())
        if marker == 0x09:
            return self.array(depth)
        if marker == 0x0A:
            return self.object(depth)
        if marker == 0x0C:
            return self.referable(self.take)
        raise AmfError(f"a command holds a value of the unknown AMF3 kind {marker}")

    def u29(self) -> int:
        number = 0
        for _ in range(3):
            piece = self.byte()
            number = number << 7 | piece & 0x7F
            if piece < 0x80:
                return number
        return number << 8 | self.byte()

    def string(self) -> str:
        head = self.u29()
        if not head & 1:
            return self.earlier(self.strings, head >> 1)
        text = self.text(head >> 1)
        if text:
            self.strings.append(text)
        return text

    def referable(self, read: _Read) -> Value:
        head = self.u29()
        if not head & 1:
            return self.earlier(self.objects, head >> 1)
        value = read(head >> 1)
        self.objects.append(value)
        return value

    def array(self, depth: int) -> Value:
        head = self.u29()
        if not head & 1:
            return self.earlier(self.objects, head >> 1)
        if head >> 1 > MAX_VALUES:
            raise AmfError(f"a command holds more than {MAX_VALUES} values")
        named: dict[str, Value] = {}
        dense: list[Value] = []
        place = len(self.objects)
        self.objects.append(None)  # a value that contains itself reads as null
        while name := self.string():
            named[name] = self.value(depth + 1)
        dense.extend(self.value(depth + 1) for _ in range(head >> 1))
        value: Value = {**named, **{str(i): item for i, item in enumerate(dense)}} if named else dense
        self.objects[place] = value
        return value

    def object(self, depth: int) -> Value:
        head = self.u29()
        if not head & 1:
            return self.earlier(self.objects, head >> 1)
        if not head & 2:
            names, dynamic = self.earlier(self.traits, head >> 2)
        elif head & 4:
            raise AmfError("a command holds an AMF3 object of a form of its own")
        else:
            if head >> 4 > MAX_VALUES:
                raise AmfError(f"a command holds more than {MAX_VALUES} values")
            self.string()  # the class name
            names, dynamic = [self.string() for _ in range(head >> 4)], bool(head & 8)
            self.traits.append((names, dynamic))
        place = len(self.objects)
        self.objects.append(None)
        found: dict[str, Value] = {name: self.value(depth + 1) for name in names}
        if dynamic:
            while name := self.string():
                found[name] = self.value(depth + 1)
        self.objects[place] = found
        return found

    def earlier(self, table: list[_T], index: int) -> _T:
        if index >= len(table):
            raise AmfError("a command refers to a value that it does not hold")
        return table[index]
