"""ICE-lite (RFC 8445, 2.5): the server has a public address and waits to be found; it checks nothing itself.

An Agent belongs to one peer. It answers the binding requests that prove the peer's password, and so learns from which
addresses the peer may be heard and to which it may be sent. Nothing else moves an address.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from media.protocols import stun
from media.protocols.stun import StunMessage
from media.rtc.options import Address

STALE_NOMINATION = 10.0
"""A path that was not nominated anew for so long has to be nominated as if for the first time, s."""
SILENT = 3.0
"""Nothing heard on the selected path for so long: any nominated one is better, s."""


DEAD = 10.0
"""The same, and one that is not nominated is too: the other side proves its consent every 5 s or so (RFC 7675), s."""


@dataclass(frozen=True, slots=True)
class Credentials:
    ufrag: str
    pwd: str

    @classmethod
    def make(cls) -> Credentials:
        """RFC 8445, 5.3 asks for 24 and 128 bits; a guess of the first alone must already be hopeless here."""
        return cls(secrets.token_hex(8), secrets.token_hex(16))


class Path:
    """An address from which the peer proved itself."""

    __slots__ = ("address", "credentials", "heard", "nominated_at", "nominated_since", "priority")

    def __init__(self, address: Address, credentials: Credentials) -> None:
        self.address = address
        self.credentials = credentials
        self.priority = 0
        self.heard = 0.0
        self.nominated_since: float | None = None
        self.nominated_at = 0.0


class Checked:
    """What a binding request led to. answer: goes back to where it came from. proven: it was made with our password.

    added, dropped: addresses that are the peer's from now on, or no more; moved: the selected path changed.
    """

    __slots__ = ("added", "answer", "dropped", "moved", "proven")

    def __init__(self, answer: bytes, *, proven: bool = False) -> None:
        self.answer = answer
        self.proven = proven
        self.added: Address | None = None
        self.dropped: list[Address] = []
        self.moved = False


class Agent:
    """selected: where to send, None until the peer has nominated a path."""

    def __init__(self, most_paths: int) -> None:
        self.local = Credentials.make()
        self.known = {self.local.ufrag: self.local}
        """What a request may name. During a restart these are two: the old path carries on until a new one is
        nominated."""
        self.paths: dict[Address, Path] = {}
        self.selected: Path | None = None
        self.restarts = 0
        self._most_paths = most_paths

    def restart(self) -> None:
        """New credentials (RFC 8445, 9), in `local`."""
        kept = self.selected.credentials if self.selected is not None else self.local
        self.local = Credentials.make()
        self.known = {kept.ufrag: kept, self.local.ufrag: self.local}
        self.restarts += 1

    def check(self, request: StunMessage, address: Address, now: float) -> Checked:
        """A binding request."""
        name = (request.username or "").partition(":")[0]
        credentials = self.known.get(name)
        if credentials is None:
            return Checked(stun.refusal(request, 401))
        key = credentials.pwd.encode()
        if stun.MESSAGE_INTEGRITY not in request.attributes:
            return Checked(stun.refusal(request, 400))
        if not request.proven(key):
            return Checked(stun.refusal(request, 401))
        if request.unknown:
            return Checked(stun.refusal(request, 420, key))
        if request.priority is None:
            return Checked(stun.refusal(request, 400, key))
        if stun.ICE_CONTROLLED in request.attributes:
            # a lite agent is controlled, always: the other one has to give way (7.3.1.1)
            return Checked(stun.refusal(request, 487, key))
        checked = Checked(stun.success(request, address[0], address[1], key), proven=True)
        path = self._path(address, credentials, checked)
        path.priority = request.priority
        if stun.USE_CANDIDATE in request.attributes:
            self._nominate(path, now, checked)
        else:
            path.nominated_since = None
            self._replace_dead(path, now, checked)
        path.heard = now
        return checked

    def _path(self, address: Address, credentials: Credentials, checked: Checked) -> Path:
        path = self.paths.get(address)
        if path is None:
            if len(self.paths) >= self._most_paths:
                spare = min(
                    (path for path in self.paths.values() if path is not self.selected), key=lambda path: path.heard
                )
                del self.paths[spare.address]
                checked.dropped.append(spare.address)
            path = self.paths[address] = Path(address, credentials)
            checked.added = address
        elif credentials is self.local:
            path.credentials = credentials
        return path

    def _nominate(self, path: Path, now: float, checked: Checked) -> None:
        """The last one nominated counts, as when a phone changes networks. But a peer may nominate all its paths over
        and over (aggressive nomination, RFC 5245): then the one of the highest priority, without to and fro."""
        since = path.nominated_since
        if since is None or now - path.nominated_at > STALE_NOMINATION:
            since = path.nominated_since = now
        path.nominated_at = now
        selected = self.selected
        if selected is path:
            pass
        elif (
            selected is None
            or (path.credentials is self.local and selected.credentials is not self.local)
            or (
                path.credentials is selected.credentials
                and (
                    path.priority > selected.priority or selected.nominated_at < since or now - selected.heard > SILENT
                )
            )
        ):
            self.selected = path
            checked.moved = True
        if self.selected is path and path.credentials is self.local and len(self.known) > 1:
            self.known = {self.local.ufrag: self.local}
            for other in [other for other in self.paths.values() if other.credentials is not self.local]:
                del self.paths[other.address]
                checked.dropped.append(other.address)

    def _replace_dead(self, path: Path, now: float, checked: Checked) -> None:
        """A router gave the other side a new address without its knowing: it nominates nothing, and only goes on."""
        selected = self.selected
        if selected is None or selected is path or path.credentials is not selected.credentials:
            return
        if now - selected.heard > DEAD:
            self.selected = path
            checked.moved = True

    def lose(self, address: Address) -> None:
        """The address became another peer's."""
        path = self.paths.pop(address, None)
        if path is not None and path is self.selected:
            self.selected = None
