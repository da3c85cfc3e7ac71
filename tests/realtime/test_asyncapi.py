"""The AsyncAPI document says what is sent."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from realtime.protocol.asyncapi import asyncapi
from realtime.protocol.messages import FROM_CLIENT, FROM_SERVER, FromClient

DOCUMENT = asyncapi(title="Social Flow", version="1", host="localhost:8080", secure=False)


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [found for inner in value.values() for found in references(inner)]
    if isinstance(value, list):
        return [found for inner in value for found in references(inner)]
    return []


def test_every_reference_leads_somewhere() -> None:
    found = references(DOCUMENT)
    assert found
    for reference in found:
        place: Any = DOCUMENT
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]


def test_every_message_is_in_it_and_has_its_tag() -> None:
    text = json.dumps(DOCUMENT)
    assert json.loads(text) == DOCUMENT
    for kind in (*FROM_CLIENT, *FROM_SERVER):
        schema = DOCUMENT["components"]["schemas"][kind.__name__]
        assert schema["properties"]["type"]["enum"] == [kind.__struct_config__.tag]
        assert DOCUMENT["components"]["messages"][kind.__name__]["summary"] or kind.__name__ == "Unsubscribe"


def test_what_clients_may_say_is_what_the_codec_takes() -> None:
    tags = {kind.__struct_config__.tag for kind in FROM_CLIENT}
    taken = {member.__struct_config__.tag for member in FromClient.__args__}
    assert tags == taken
    assert msgspec.json.decode(b'{"type":"ping"}', type=FromClient) is not None
