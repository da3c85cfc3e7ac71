"""The lite agent: who is answered, which address is the peer's, and what a restart leaves of the former one."""

from __future__ import annotations

import pytest

from media.protocols import stun
from media.rtc.ice import DEAD, SILENT, Agent, Checked
from media.rtc.options import Address

HOME: Address = ("192.0.2.1", 1000)
STREET: Address = ("198.51.100.1", 2000)
HIGH, LOW = 2_000_000_000, 1_000_000_000


def request(
    agent: Agent,
    *,
    ufrag: str = "",
    pwd: str = "",
    nominate: bool = False,
    priority: int | None = HIGH,
    more: list[tuple[int, bytes]] | None = None,
) -> stun.StunMessage:
    attributes = [(stun.USERNAME, f"{ufrag or agent.local.ufrag}:them".encode()), (stun.ICE_CONTROLLING, bytes(8))]
    if priority is not None:
        attributes.append((stun.PRIORITY, priority.to_bytes(4, "big")))
    if nominate:
        attributes.append((stun.USE_CANDIDATE, b""))
    key = (pwd or agent.local.pwd).encode()
    return stun.parse(stun.build(stun.BINDING_REQUEST, bytes(12), [*attributes, *(more or [])], key=key))


def code(checked: Checked) -> int | None:
    return stun.parse(checked.answer).error


def selected(agent: Agent) -> Address | None:
    return agent.selected.address if agent.selected is not None else None


def test_a_check_is_answered_and_a_nomination_selects() -> None:
    agent = Agent(4)
    checked = agent.check(request(agent), HOME, 1.0)
    assert checked.proven
    assert checked.added == HOME
    answer = stun.parse(checked.answer)
    assert answer.mapped == HOME
    assert answer.proven(agent.local.pwd.encode())
    assert selected(agent) is None
    assert agent.check(request(agent, nominate=True), HOME, 2.0).moved
    assert selected(agent) == HOME


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"ufrag": "nobody"}, 401),
        ({"pwd": "guessed"}, 401),
        ({"priority": None}, 400),
        ({"more": [(stun.ICE_CONTROLLED, bytes(8))]}, 487),
        ({"more": [(0x7001, b"")]}, 420),
    ],
)
def test_what_is_refused_moves_nothing(wrong: dict[str, object], expected: int) -> None:
    agent = Agent(4)
    checked = agent.check(request(agent, nominate=True, **wrong), HOME, 1.0)  # type: ignore[arg-type]
    assert code(checked) == expected
    assert not checked.proven
    assert not agent.paths
    assert selected(agent) is None


def test_without_integrity_it_is_a_bad_request() -> None:
    agent = Agent(4)
    bare = stun.parse(
        stun.build(stun.BINDING_REQUEST, bytes(12), [(stun.USERNAME, f"{agent.local.ufrag}:them".encode())])
    )
    assert code(agent.check(bare, HOME, 1.0)) == 400


def test_a_phone_goes_out_and_comes_home() -> None:
    agent = Agent(4)
    agent.check(request(agent, nominate=True, priority=HIGH), HOME, 1.0)
    agent.check(request(agent, nominate=True, priority=LOW), STREET, 5.0)
    assert selected(agent) == STREET
    agent.check(request(agent, nominate=True, priority=LOW), STREET, 59.0)
    agent.check(request(agent, priority=HIGH), HOME, 60.0)
    assert selected(agent) == STREET
    agent.check(request(agent, nominate=True, priority=HIGH), HOME, 61.0)
    assert selected(agent) == HOME
    agent.check(request(agent, priority=LOW), STREET, 62.0)
    agent.check(request(agent, nominate=True, priority=LOW), STREET, 63.0)
    assert selected(agent) == STREET


def test_who_nominates_all_paths_gets_the_best_without_to_and_fro() -> None:
    agent = Agent(4)
    moves = 0
    for turn in range(20):
        for address, priority in ((STREET, LOW), (HOME, HIGH)):
            moves += agent.check(request(agent, nominate=True, priority=priority), address, float(turn)).moved
    assert selected(agent) == HOME
    assert moves <= 3
    # and when the best falls silent, the other one is as good
    agent.check(request(agent, nominate=True, priority=LOW), STREET, 19.0 + SILENT + 0.1)
    assert selected(agent) == STREET


def test_a_router_that_forgets_is_not_the_end() -> None:
    agent = Agent(4)
    agent.check(request(agent, nominate=True), HOME, 1.0)
    agent.check(request(agent), STREET, 2.0)
    assert selected(agent) == HOME
    agent.check(request(agent), STREET, 1.1 + DEAD)
    assert selected(agent) == STREET


def test_a_restart_lets_the_old_path_carry_on_until_the_new_one_is_nominated() -> None:
    agent = Agent(4)
    agent.check(request(agent, nominate=True), HOME, 1.0)
    old = agent.local
    agent.restart()
    assert agent.local.ufrag != old.ufrag
    assert agent.check(request(agent, ufrag=old.ufrag, pwd=old.pwd), HOME, 2.0).proven
    assert agent.check(request(agent), STREET, 3.0).proven
    assert selected(agent) == HOME
    ended = agent.check(request(agent, nominate=True, priority=LOW), STREET, 4.0)
    assert selected(agent) == STREET
    assert ended.dropped == [HOME]
    assert set(agent.known) == {agent.local.ufrag}
    assert code(agent.check(request(agent, ufrag=old.ufrag, pwd=old.pwd), HOME, 5.0)) == 401


def test_a_restart_on_the_same_address() -> None:
    agent = Agent(4)
    agent.check(request(agent, nominate=True), HOME, 1.0)
    agent.restart()
    agent.restart()  # the first one came to nothing
    assert len(agent.known) == 2
    assert agent.check(request(agent, nominate=True), HOME, 2.0).dropped == []
    assert selected(agent) == HOME
    assert set(agent.known) == {agent.local.ufrag}


def test_addresses_are_bounded_and_the_selected_one_stays() -> None:
    agent = Agent(3)
    agent.check(request(agent, nominate=True), HOME, 1.0)
    for place in range(10):
        agent.check(request(agent), ("203.0.113.1", place + 1), 2.0 + place)
    assert len(agent.paths) == 3
    assert HOME in agent.paths
