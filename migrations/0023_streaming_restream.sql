-- Where a channel's broadcasts are pushed on to, and how the last push to each goes.
create table restream_targets (
    id uuid primary key,
    channel_id uuid not null references channels (id) on delete cascade,
    name text not null,
    url text not null,
    sealed_key bytea not null,
    key_hint text not null,
    enabled boolean not null,
    version bigint not null default 1,
    revision bigint not null default 1,
    stopped_for uuid,
    created_at timestamptz not null default now()
);
comment on column restream_targets.version is 'counts edits by people';
comment on column restream_targets.revision is 'counts what a push that is under way has to begin anew for';
comment on column restream_targets.stopped_for is 'the broadcast that its owner does not want pushed to it';
create index restream_targets_of_channel on restream_targets (channel_id, id);

create table restream_pushes (
    target_id uuid primary key references restream_targets (id) on delete cascade,
    broadcast_id uuid not null references broadcasts (id) on delete cascade,
    revision bigint not null,
    state text not null,
    since timestamptz not null,
    bitrate double precision not null,
    sent_bytes bigint not null,
    dropped bigint not null,
    reconnects bigint not null,
    error text not null,
    note text not null
);
create index restream_pushes_of_broadcast on restream_pushes (broadcast_id);

-- back
drop table restream_pushes;
drop table restream_targets;
