-- What a chat has beside messages: edits, replies, reactions, pins, modes, and who may do what in it. All of it stands in the
-- one log of its room. A row of the log says who may see it: all; own (the person it is about, and the staff of the room);
-- self (that person alone); staff. Others see that the place is taken and nothing else.

alter table chat_rooms
    add column owner_id uuid,
    add column mode jsonb not null default '{}',
    add column pins uuid[] not null default '{}';

alter table chat_messages
    add column text_at bigint,
    add column released_at bigint,
    add column edited_at timestamptz,
    add column reply_to uuid,
    add column mentions uuid[] not null default '{}',
    add column badge text,
    add column shadowed boolean not null default false,
    add column held_until timestamptz,
    add column fingerprint bigint,
    add column reactions jsonb not null default '{}';
comment on column chat_messages.text_at is 'the place of the log where the text stands: the last edit, or where it was shown after a delay';
comment on column chat_messages.released_at is 'the place where all were shown what only its author and the staff had seen';
comment on column chat_messages.fingerprint is 'of the text, to find the same one again; null when deleted';

create index chat_messages_last on chat_messages (room_id, author_id, at desc);
create index chat_messages_same on chat_messages (room_id, fingerprint) where fingerprint is not null;
create index chat_messages_held on chat_messages (held_until) where held_until is not null;
create index chat_messages_private on chat_messages (room_id) where shadowed or held_until is not null;
create index chat_messages_mentions on chat_messages using gin (mentions) where mentions <> '{}';
create index chat_messages_deleted_by on chat_messages (deleted_by) where deleted_by is not null;

alter table chat_log drop constraint chat_log_kind_check;
alter table chat_log
    alter column message_id drop not null,
    add column subject uuid,
    add column data jsonb,
    add column prior bigint,
    add column audience text not null default 'all' check (audience in ('all', 'own', 'self', 'staff')),
    add check (kind in ('message', 'edit', 'delete', 'reactions', 'pin', 'unpin', 'mode', 'ban', 'unban', 'moderator',
        'filters', 'emotes'));
comment on column chat_log.prior is 'the place where the message''s text stood before this change';
create index chat_log_by on chat_log (by) where by is not null;
create index chat_log_subject on chat_log (subject) where subject is not null;

create table chat_reactions (
    message_id uuid not null references chat_messages (id) on delete cascade,
    user_id uuid not null,
    emoji text not null,
    room_id uuid not null references chat_rooms (id) on delete cascade,
    hidden boolean not null default false,
    at timestamptz not null,
    primary key (message_id, user_id, emoji)
);
create index chat_reactions_user on chat_reactions (user_id);
create index chat_reactions_hidden on chat_reactions (room_id) where hidden;

-- of a channel, so for all broadcasts of one owner

create table chat_bans (
    owner_id uuid not null,
    user_id uuid not null,
    kind text not null check (kind in ('ban', 'timeout', 'shadow')),
    until timestamptz check ((until is not null) = (kind = 'timeout')),
    reason text not null,
    by uuid not null,
    at timestamptz not null,
    primary key (owner_id, user_id)
);
create index chat_bans_user on chat_bans (user_id);
create index chat_bans_by on chat_bans (by);
create index chat_bans_at on chat_bans (owner_id, at desc, user_id);

create table chat_moderators (
    owner_id uuid not null,
    user_id uuid not null,
    by uuid not null,
    at timestamptz not null,
    primary key (owner_id, user_id)
);
create index chat_moderators_user on chat_moderators (user_id);
create index chat_moderators_by on chat_moderators (by);

create table chat_filters (
    id uuid primary key,
    owner_id uuid not null,
    pattern text not null,
    action text not null check (action in ('refuse', 'mask', 'shadow')),
    by uuid not null,
    at timestamptz not null,
    unique (owner_id, pattern)
);
create index chat_filters_by on chat_filters (by);

create table chat_emotes (
    owner_id uuid not null,
    name text not null,
    art text not null,
    by uuid not null,
    at timestamptz not null,
    primary key (owner_id, name)
);
create index chat_emotes_by on chat_emotes (by);

-- back

drop table chat_emotes;
drop table chat_filters;
drop table chat_moderators;
drop table chat_bans;
drop table chat_reactions;
-- what the older program cannot read begins anew: clients are told by the epoch
update chat_rooms set epoch = epoch + 1 where id in (select room_id from chat_log where kind not in ('message', 'delete')
    or audience <> 'all');
delete from chat_messages where shadowed or held_until is not null;
delete from chat_log where kind not in ('message', 'delete') or audience <> 'all'
    or (kind = 'message' and exists (select 1 from chat_messages m where m.id = message_id and m.released_at = log_offset));
-- places stay dense
with dense as (
    select room_id, log_offset, row_number() over (partition by room_id order by log_offset) as place from chat_log
), moved as (
    update chat_log l set log_offset = -d.place from dense d where (l.room_id, l.log_offset) = (d.room_id, d.log_offset)
    returning l.room_id, d.place
)
update chat_rooms r set last_offset = coalesce((select max(place) from moved m where m.room_id = r.id), 0);
update chat_log set log_offset = -log_offset where log_offset < 0;
update chat_messages m set log_offset = l.log_offset from chat_log l where l.message_id = m.id and l.kind = 'message';
drop index chat_log_subject;
drop index chat_log_by;
alter table chat_log drop constraint chat_log_kind_check;
alter table chat_log drop column subject, drop column data, drop column prior, drop column audience;
alter table chat_log add constraint chat_log_kind_check check (kind in ('message', 'delete'));
alter table chat_log alter column message_id set not null;
drop index chat_messages_last, chat_messages_same, chat_messages_held, chat_messages_private, chat_messages_mentions,
    chat_messages_deleted_by;
alter table chat_messages drop column text_at, drop column released_at, drop column edited_at, drop column reply_to,
    drop column mentions, drop column badge, drop column shadowed, drop column held_until, drop column fingerprint,
    drop column reactions;
alter table chat_rooms drop column owner_id, drop column mode, drop column pins;
