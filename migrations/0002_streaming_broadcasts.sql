-- A channel is where one user broadcasts; its key lasts over broadcasts and is stored hashed.
create table channels (
    id uuid primary key,
    user_id uuid not null unique references users (id) on delete cascade,
    key_hash bytea unique,
    key_hint text,
    key_created_at timestamptz,
    created_at timestamptz not null default now()
);

create table broadcasts (
    id uuid primary key,
    channel_id uuid not null references channels (id) on delete cascade,
    title text not null,
    description text not null default '',
    visibility text not null check (visibility in ('public', 'unlisted')),
    state text not null default 'created' check (state in ('created', 'live', 'interrupted', 'ended')),
    record boolean not null default true,
    created_at timestamptz not null default now(),
    started_at timestamptz,
    ended_at timestamptz,
    ended_by_owner boolean not null default false,
    tracks jsonb not null default '[]',
    recording jsonb,
    thumbnail boolean not null default false,
    -- the lease: which process holds the live side; a writer with an older fence changes nothing
    owner_node text,
    fence bigint not null default 0,
    lease_until timestamptz
);
-- one at a time: the encoder has one key and the viewers one place to look
create unique index broadcasts_on_air on broadcasts (channel_id) where state in ('live', 'interrupted');
create index broadcasts_of_channel on broadcasts (channel_id, id desc);
create index broadcasts_live on broadcasts (started_at desc, id desc)
    where state in ('live', 'interrupted') and visibility = 'public';
create index broadcasts_recorded on broadcasts (ended_at) where recording is not null;

-- What happened to a channel's pushes, for the person who pushes.
create table ingest_events (
    id uuid primary key,
    channel_id uuid not null references channels (id) on delete cascade,
    broadcast_id uuid references broadcasts (id) on delete cascade,
    at timestamptz not null default now(),
    kind text not null,
    detail text not null
);
create index ingest_events_of_channel on ingest_events (channel_id, id desc);
create index ingest_events_of_broadcast on ingest_events (broadcast_id, id desc);

-- back
drop table ingest_events;
drop table broadcasts;
drop table channels;
