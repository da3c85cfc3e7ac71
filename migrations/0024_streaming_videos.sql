-- Videos on demand: a row from the first byte of an upload on, and the work that makes it playable.
create table videos (
    id uuid primary key,
    owner_id uuid not null references users (id) on delete cascade,
    title text not null,
    description text not null default '',
    visibility text not null
        check (visibility in ('public', 'unlisted', 'private', 'followers', 'subscribers', 'paid')),
    state text not null default 'uploading'
        check (state in ('uploading', 'processing', 'playable', 'ready', 'failed')),
    progress real not null default 0 check (progress between 0 and 1),
    error_code text,
    error text,
    publish_at timestamptz,
    published_at timestamptz,
    source_bytes bigint not null default 0,
    stored_bytes bigint not null default 0,
    facts jsonb,
    plan jsonb,
    duration double precision not null default 0,
    renditions jsonb not null default '[]',
    pictures jsonb not null default '{}',
    thumbnail text,
    chapters jsonb,
    longest double precision not null default 0,
    packaged integer not null default 0,
    run integer not null default 0,
    likes bigint not null default 0,
    views bigint not null default 0,
    suspended boolean not null default false,
    version bigint not null default 1,
    created_at timestamptz not null default now(),
    search tsvector not null generated always as (
        setweight(to_tsvector('simple', title), 'A') || setweight(to_tsvector('simple', description), 'B')
    ) stored
);
comment on column videos.published_at is 'since when others may see it; null: its owner alone';
comment on column videos.stored_bytes is 'of the outputs; the source is source_bytes';
comment on column videos.chapters is 'set by hand; null: those of the description';
comment on column videos.longest is 'seconds it may last by the tier of its owner; 0: as long as any';
comment on column videos.packaged is 'how many pieces of work the playlists in the store know of';
comment on column videos.run is 'counts attempts to process it: a job of an older one does nothing';
comment on column videos.version is 'counts edits by people';
create index videos_of_owner on videos (owner_id, id desc);
create index videos_feed on videos (published_at desc, id desc)
    where published_at is not null and visibility = 'public' and not suspended;
create index videos_search on videos using gin (search)
    where published_at is not null and visibility = 'public' and not suspended;
create index videos_to_publish on videos (publish_at) where published_at is null and publish_at is not null;

-- The pieces of work of one video, each a job: a chunk of its picture in some rungs, its sound, its pictures.
create table video_chunks (
    video_id uuid not null references videos (id) on delete cascade,
    name text not null,
    kind text not null check (kind in ('picture', 'sound', 'stills')),
    place integer not null,
    number integer not null default 0,
    rungs text[] not null default '{}',
    weight real not null,
    progress real not null default 0 check (progress between 0 and 1),
    result jsonb,
    primary key (video_id, name)
);
comment on column video_chunks.place is 'in which order they are to be done';
comment on column video_chunks.weight is 'its share in the progress of the whole, against the others';
comment on column video_chunks.result is 'what the engine said of it; null: not done yet';

create table video_likes (
    video_id uuid not null references videos (id) on delete cascade,
    user_id uuid not null references users (id) on delete cascade,
    created_at timestamptz not null default now(),
    primary key (video_id, user_id)
);
create index video_likes_of_user on video_likes (user_id, video_id);

create table video_captions (
    video_id uuid not null references videos (id) on delete cascade,
    language text not null,
    label text not null,
    body text not null,
    cues integer not null,
    version bigint not null default 1,
    updated_at timestamptz not null default now(),
    primary key (video_id, language)
);
comment on column video_captions.body is 'WebVTT as we write it, not as it was uploaded';

create table video_events (
    id uuid primary key,
    video_id uuid not null references videos (id) on delete cascade,
    at timestamptz not null default now(),
    kind text not null,
    detail text not null
);
create index video_events_of_video on video_events (video_id, id desc);

-- back
drop table video_events;
drop table video_captions;
drop table video_likes;
drop table video_chunks;
drop table videos;
