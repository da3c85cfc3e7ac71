-- Chat of live broadcasts. A room is the chat of one broadcast; it is made by its first message. A room's changes are numbered without
-- holes: whoever writes holds the room's row until the commit, so nobody ever sees a change without the ones before it.

create table chat_rooms (
    id uuid primary key,
    epoch bigint not null default 1,
    last_offset bigint not null default 0
);

create table chat_messages (
    id uuid primary key,
    room_id uuid not null references chat_rooms (id) on delete cascade,
    log_offset bigint not null,
    author_id uuid not null,
    author_name text not null,
    text text not null,
    at timestamptz not null,
    media_time timestamptz,
    -- where a replay shows it
    shown_at timestamptz not null generated always as (coalesce(media_time, at)) stored,
    nonce text,
    deleted_at timestamptz,
    deleted_by uuid,
    check (deleted_at is null or text = '')
);

create unique index chat_messages_nonce on chat_messages (room_id, author_id, nonce) where nonce is not null;
create index chat_messages_replay on chat_messages (room_id, shown_at, log_offset) where deleted_at is null;
create index chat_messages_author on chat_messages (author_id);

create table chat_log (
    room_id uuid not null references chat_rooms (id) on delete cascade,
    log_offset bigint not null,
    kind text not null check (kind in ('message', 'delete')),
    message_id uuid not null references chat_messages (id) on delete cascade,
    at timestamptz not null,
    by uuid,
    primary key (room_id, log_offset)
);

create index chat_log_message on chat_log (message_id);

-- back

drop table chat_log;
drop table chat_messages;
drop table chat_rooms;
