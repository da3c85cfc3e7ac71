-- Who may watch a broadcast grows; what was watched of videos.
alter table broadcasts drop constraint broadcasts_visibility_check;
alter table broadcasts add constraint broadcasts_visibility_check
    check (visibility in ('public', 'unlisted', 'private', 'followers', 'subscribers', 'paid'));

create table video_watch (
    video_id uuid primary key references videos (id) on delete cascade,
    bucket_seconds real not null,
    seconds double precision not null default 0
);
comment on table video_watch is 'how long a video was watched in all, and how wide the buckets of its retention are';

create table video_retention (
    video_id uuid not null references videos (id) on delete cascade,
    bucket integer not null,
    viewers bigint not null default 0,
    primary key (video_id, bucket)
);
comment on column video_retention.viewers is 'how many were shown something of this piece, each once in a window';

create table video_viewers (
    video_id uuid not null references videos (id) on delete cascade,
    viewer bytea not null,
    buckets bytea not null,
    counted boolean not null,
    since timestamptz not null default now(),
    primary key (video_id, viewer)
);
comment on table video_viewers is 'who is counted already, by a digest that names nobody; forgotten after VIEW_WINDOW';
create index video_viewers_since on video_viewers (since);

-- back
drop table video_viewers;
drop table video_retention;
drop table video_watch;
update broadcasts set visibility = 'unlisted' where visibility not in ('public', 'unlisted');
alter table broadcasts drop constraint broadcasts_visibility_check;
alter table broadcasts add constraint broadcasts_visibility_check check (visibility in ('public', 'unlisted'));
