-- Clips of broadcasts and videos, who may make them, and trims of videos.
alter table videos add column cut jsonb;
comment on column videos.cut is 'of a clip, and of a draft that trims the video it replaces: {kind, id, keep: [[from, to], ...]}, s';

create table clips (
    video_id uuid primary key references videos (id) on delete cascade,
    maker_id uuid not null references users (id) on delete cascade,
    kind text not null check (kind in ('broadcast', 'video')),
    source_id uuid not null,
    source_owner_id uuid references users (id) on delete set null,
    widest text not null
        check (widest in ('public', 'unlisted', 'private', 'followers', 'subscribers', 'paid')),
    start_seconds double precision not null,
    end_seconds double precision not null check (end_seconds > start_seconds),
    created_at timestamptz not null default now()
);
comment on column clips.source_id is 'it may be gone: a clip stays';
comment on column clips.widest is 'who may watch the source: never more may watch the clip';
create index clips_of_source on clips (source_id, video_id desc);
create index clips_of_maker on clips (maker_id, video_id desc);
create index clips_of_source_owner on clips (source_owner_id);

create table clip_rules (
    owner_id uuid not null references users (id) on delete cascade,
    broadcast_id uuid references broadcasts (id) on delete cascade,
    video_id uuid references videos (id) on delete cascade,
    who text not null check (who in ('everybody', 'followers', 'owner')),
    check (broadcast_id is null or video_id is null)
);
comment on table clip_rules is 'who may make clips: of one broadcast, of one video, or of all else that somebody has';
create unique index clip_rules_of_owner on clip_rules (owner_id) where broadcast_id is null and video_id is null;
create unique index clip_rules_of_broadcast on clip_rules (broadcast_id) where broadcast_id is not null;
create unique index clip_rules_of_video on clip_rules (video_id) where video_id is not null;
create index clip_rules_by_owner on clip_rules (owner_id);

create function visibility_width(visibility text) returns integer language sql immutable
    return array_position(array['private', 'paid', 'subscribers', 'followers', 'unlisted', 'public'], visibility);

-- Whichever way a source is made narrower, its clips are too. Whom somebody else has as followers are not the owner's.
create function clips_follow_source() returns trigger language plpgsql as $$
begin
    update clips set widest = new.visibility where source_id = new.id;
    update videos v set visibility = case
            when new.visibility = 'unlisted' or c.maker_id = c.source_owner_id then new.visibility else 'private' end
        from clips c
        where c.source_id = new.id and v.id = c.video_id
            and visibility_width(v.visibility) > visibility_width(new.visibility);
    return null;
end
$$;
create trigger broadcasts_narrow_clips after update of visibility on broadcasts for each row
    when (old.visibility is distinct from new.visibility) execute function clips_follow_source();
create trigger videos_narrow_clips after update of visibility on videos for each row
    when (old.visibility is distinct from new.visibility) execute function clips_follow_source();

-- back
drop trigger videos_narrow_clips on videos;
drop trigger broadcasts_narrow_clips on broadcasts;
drop function clips_follow_source();
drop function visibility_width(text);
drop table clip_rules;
drop table clips;
alter table videos drop column cut;
