"""An operator who goes back to the older program keeps his chats, and nothing hidden comes to light."""

from __future__ import annotations

from server.wiring.choices import MIGRATIONS
from storage.postgres import Database
from storage.postgres.migrations import migrate, migrate_back
from tests.server.community.conftest import Server, World
from tests.server.community.test_rules import ban, mode, say


async def test_the_way_back_leaves_dense_logs_without_what_was_hidden(
    database: Database, database_url: str, world: World
) -> None:
    room, plain = world.broadcast(), world.broadcast()
    async with Server(database, world) as server:
        await say(server, plain, "ann", "untouched")
        first = await say(server, room, "ann", "first")
        await server.json("PATCH", f"{room.id}/chat/{first['id']}", "ann", json={"text": "edited"})
        await server.json("PUT", f"{room.id}/chat/{first['id']}/reactions/👍", "bob")
        await ban(server, world, room, "shade", kind="shadow")
        await say(server, room, "shade", "unseen")
        await mode(server, room, slow=5)
        gone = await say(server, room, "bob", "to go")
        await server.json("DELETE", f"{room.id}/chat/{gone['id']}", "bob", 204)
    names = sorted(file.stem for file in MIGRATIONS.glob("*.sql"))
    before = [name for name in names if name < "0020"][-1]
    await database.close()
    await migrate_back(database_url, MIGRATIONS, before)
    await database.start()
    async with database.acquire() as connection:
        log = await connection.fetch(
            """select l.log_offset, l.kind, m.text, m.log_offset as place, r.last_offset, r.epoch from chat_log l
            join chat_messages m on m.id = l.message_id join chat_rooms r on r.id = l.room_id
            where l.room_id = $1 order by 1""",
            room.id,
        )
        other = await connection.fetchrow("select epoch, last_offset from chat_rooms where id = $1", plain.id)
    assert [tuple(row)[:3] for row in log] == [(1, "message", "edited"), (2, "message", ""), (3, "delete", "")]
    assert {row["last_offset"] for row in log} == {3}
    assert {row["epoch"] for row in log} == {2}  # clients begin anew
    assert [row["place"] for row in log] == [1, 2, 2]
    assert other is not None
    assert tuple(other) == (1, 1)
    await database.close()
    await migrate(database_url, MIGRATIONS)
    await database.start()
    async with Server(database, world) as server:
        state = await server.json("GET", f"{plain.id}/chat/state")
        assert [message["text"] for message in state["messages"]] == ["untouched"]
