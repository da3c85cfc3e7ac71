"""A client's state of a chat, made as docs/realtime.md says: from the state at a place and the changes after it."""

from __future__ import annotations

from typing import Any


class Reader:
    """Who holds what one viewer sees."""

    def __init__(self, state: dict[str, Any]) -> None:
        self.offset: int = state["offset"]
        self.mode: dict[str, Any] = state["mode"]
        self.pins: list[str] = [message["id"] for message in state["pins"]]
        self.moderators: set[str] = set(state["moderators"])
        self.emotes: dict[str, str] = {one["name"]: one["art"] for one in state["emotes"]}
        self.messages: dict[str, dict[str, Any] | None] = {one["id"]: _bare(one) for one in state["messages"]}
        self.reactions: dict[str, dict[str, int]] = {one["id"]: one["reactions"] for one in state["messages"]}

    def apply(self, offset: int, data: dict[str, Any]) -> None:
        assert offset == self.offset + 1, "places are dense"
        self.offset = offset
        match data["kind"]:
            case "message":
                message = data["message"]
                if message.get("deleted"):
                    self._drop(message["id"])
                elif message.get("replaced"):
                    self.messages.setdefault(message["id"], None)
                else:
                    self.messages[message["id"]] = _bare(message)
            case "edit":
                message = data["message"]
                if message["id"] in self.messages and not message.get("replaced"):
                    if message.get("deleted"):
                        self._drop(message["id"])
                    else:
                        self.messages[message["id"]] = _bare(message)
            case "delete":
                self._drop(data["id"])
            case "reactions":
                self.reactions[data["id"]] = data["counts"]
            case "pin":
                if data["id"] not in self.pins:
                    self.pins.append(data["id"])
            case "unpin":
                self.pins = [id for id in self.pins if id != data["id"]]
            case "mode":
                self.mode = data["mode"]
            case "moderator":
                (self.moderators.add if data["moderates"] else self.moderators.discard)(data["user"])
            case "emotes":
                if data["art"] is None:
                    self.emotes.pop(data["name"], None)
                else:
                    self.emotes[data["name"]] = data["art"]

    def _drop(self, id: str) -> None:
        self.messages.pop(id, None)
        self.pins = [pin for pin in self.pins if pin != id]

    def seen(self) -> dict[str, Any]:
        """What is on the screen."""
        messages = {id: message for id, message in self.messages.items() if message is not None}
        return {
            "offset": self.offset,
            "mode": self.mode,
            "pins": sorted(self.pins),
            "moderators": self.moderators,
            "emotes": self.emotes,
            "messages": messages,
            "reactions": {id: counts for id, counts in self.reactions.items() if id in messages and counts},
        }


def _bare(message: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in message.items() if name != "reactions"}
