"""Objects read lately, in memory up to a number of bytes; the longest unused goes first. Dies with its owner."""

from __future__ import annotations

from collections import OrderedDict


class ByteCache:
    def __init__(self, max_bytes: int) -> None:
        self._max = max_bytes
        # One object never takes the place of most others.
        self._largest = max_bytes // 4
        self._items: OrderedDict[str, bytes] = OrderedDict()
        self.bytes = 0

    def get(self, key: str) -> bytes | None:
        data = self._items.get(key)
        if data is not None:
            self._items.move_to_end(key)
        return data

    def put(self, key: str, data: bytes) -> None:
        self.drop(key)
        if len(data) > self._largest:
            return
        self._items[key] = data
        self.bytes += len(data)
        while self.bytes > self._max:
            _, old = self._items.popitem(last=False)
            self.bytes -= len(old)

    def drop(self, key: str) -> None:
        data = self._items.pop(key, None)
        if data is not None:
            self.bytes -= len(data)

    def drop_prefix(self, prefix: str) -> None:
        for key in [key for key in self._items if key.startswith(prefix)]:
            self.drop(key)

    def __len__(self) -> int:
        return len(self._items)
