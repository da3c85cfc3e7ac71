-- Uploads of videos: what has come of a file, and who is bringing it. The bytes are in the store, under `place`.
create table uploads (
    id uuid primary key,
    owner_id uuid not null references users (id) on delete cascade,
    video_id uuid references videos (id) on delete set null,
    kind text not null check (kind in ('whole', 'partial', 'final', 'form')),
    state text not null default 'open' check (state in ('open', 'full', 'done', 'expired')),
    place text not null,
    length bigint check (length >= 0),
    received bigint not null default 0 check (received >= 0),
    head bytea not null default '',
    metadata text not null default '',
    pieces uuid[] not null default '{}',
    joined boolean not null default false,
    writer uuid,
    node text,
    writer_until timestamptz,
    idempotency_key text,
    sent_bytes bigint,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null
);
comment on column uploads.video_id is 'null: of a part or a form, before they are whole; of others: the video was deleted';
comment on column uploads.kind is 'whole: one file by tus; partial, final: several that are joined; form: multipart/form-data';
comment on column uploads.state is 'full: all bytes are kept, a job makes the object of them; done: the video has its file';
comment on column uploads.length is 'null: not known yet';
comment on column uploads.received is 'what the client was told: these bytes survive anything';
comment on column uploads.head is 'the first bytes, by which a video is known';
comment on column uploads.pieces is 'of a final one: the uploads that it joins, in order';
comment on column uploads.joined is 'of a partial one: a final one has it';
comment on column uploads.writer is 'the connection that brings bytes; nobody else may until writer_until';
comment on column uploads.sent_bytes is 'Content-Length of the request of a form: the same for the same request';
create index uploads_of_owner on uploads (owner_id, id);
create unique index uploads_by_key on uploads (owner_id, idempotency_key) where idempotency_key is not null;
create index uploads_to_expire on uploads (expires_at);
create index uploads_of_video on uploads (video_id) where video_id is not null;
create index uploads_written on uploads (node) where writer is not null;

-- back
drop table uploads;
