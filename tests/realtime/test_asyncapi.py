"""The AsyncAPI document is one, and says what is sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from realtime.protocol.asyncapi import asyncapi
from realtime.protocol.codes import CloseCode, ErrorCode, NoticeCode
from realtime.protocol.events import Ended
from realtime.protocol.examples import EXAMPLES
from realtime.protocol.messages import FROM_CLIENT, FROM_SERVER, FromClient

DOCUMENT: dict[str, Any] = json.loads(
    json.dumps(asyncapi(title="Social Flow", version="1", host="localhost:8080", secure=False))
)
KINDS = (*FROM_CLIENT, *FROM_SERVER, Ended)
# npm's @asyncapi/specs, which set-up installs with the other scripts
OFFICIAL = Path(__file__).parents[2] / "node_modules" / "@asyncapi" / "specs" / "schemas" / "3.0.0.json"


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [found for inner in value.values() for found in references(inner)]
    if isinstance(value, list):
        return [found for inner in value for found in references(inner)]
    return []


def whole(value: Any) -> Any:
    """With what is referred to in its place: the official schema checks a reference, not what it leads to."""
    if isinstance(value, dict):
        return whole(at(value["$ref"])) if "$ref" in value else {key: whole(inner) for key, inner in value.items()}
    return [whole(inner) for inner in value] if isinstance(value, list) else value


def at(reference: str) -> Any:
    place: Any = DOCUMENT
    for step in reference.removeprefix("#/").split("/"):
        place = place[step]
    return place


def test_every_reference_leads_somewhere() -> None:
    found = references(DOCUMENT)
    assert found
    for reference in found:
        at(reference)


def test_the_official_schema_takes_it() -> None:
    official = jsonschema.Draft7Validator(json.loads(OFFICIAL.read_text(encoding="utf-8")))
    assert [error.message for error in official.iter_errors(DOCUMENT)] == []
    broken = {**DOCUMENT, "operations": {"fromClient": {**DOCUMENT["operations"]["fromClient"], "action": "shout"}}}
    assert not official.is_valid(broken)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_message_is_in_it_with_examples_that_are_messages(kind: type[msgspec.Struct]) -> None:
    message = DOCUMENT["components"]["messages"][kind.__name__]
    schema = at(message["payload"]["$ref"])
    assert message["name"] == kind.__struct_config__.tag
    assert schema["properties"]["type"]["enum"] == [kind.__struct_config__.tag]
    assert message["summary"]
    assert message["examples"]
    check = jsonschema.Draft202012Validator(whole(schema))
    for example in message["examples"]:
        payload = example["payload"]
        check.validate(payload)
        told = msgspec.json.decode(json.dumps(payload), type=kind)
        again = msgspec.json.decode(msgspec.json.encode(told))
        assert {name: value for name, value in again.items() if name in payload} == payload
        if kind in FROM_CLIENT:
            assert msgspec.json.decode(json.dumps(payload), type=FromClient) == told


def test_no_example_is_of_a_message_that_is_gone() -> None:
    assert set(EXAMPLES) == {kind.__name__ for kind in KINDS}


def test_the_stream_has_its_end_and_none_of_what_answers_a_client() -> None:
    told = {reference["$ref"].rpartition("/")[2] for reference in DOCUMENT["operations"]["listen"]["messages"]}
    assert {"SubscribeAck", "Message", "State", "Closed", "Notice", "Ended"} <= told
    assert not told & {"Welcome", "Ack", "Error", *(kind.__name__ for kind in FROM_CLIENT)}
    assert DOCUMENT["channels"]["events"]["address"] == "/events"


def test_every_code_is_in_it_with_its_sentence() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    closes = {one["const"]: one for one in schemas["CloseCode"]["oneOf"]}
    assert set(closes) == {code.value for code in CloseCode}
    assert closes[4000]["description"] == CloseCode.RECONNECT_ELSEWHERE.sentence
    assert [closes[code]["x-reconnect"] for code in (4000, 4100, 4200)] == [True, True, False]
    errors = {one.get("const") for one in schemas["ErrorCode"]["anyOf"]}
    assert {code.value for code in ErrorCode} <= errors
    assert {code.value for code in NoticeCode} <= {one["const"] for one in schemas["NoticeCode"]["oneOf"]}


def test_what_clients_may_say_is_what_the_codec_takes() -> None:
    tags = {kind.__struct_config__.tag for kind in FROM_CLIENT}
    taken = {member.__struct_config__.tag for member in FromClient.__args__}
    assert tags == taken
    assert msgspec.json.decode(b'{"type":"ping"}', type=FromClient) is not None
