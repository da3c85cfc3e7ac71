-- Videos made of segments that are there already, of what was broadcast among them; a file in the place of another.
alter table videos add column stretches jsonb;
alter table videos add column broadcast_id uuid references broadcasts (id) on delete set null;
alter table videos add column replaces uuid references videos (id) on delete cascade;
alter table videos add column mark text not null default '';
comment on column videos.stretches is 'what its set is made of besides what its pieces of work make; null: an uploaded file';
comment on column videos.broadcast_id is 'what it is the recording of';
comment on column videos.replaces is 'not a video of its own: its file is to take the place of that one''s';
comment on column videos.mark is 'in the names of its segments, so that they are not those of the file before it';
create unique index videos_of_broadcast on videos (broadcast_id) where broadcast_id is not null;
create unique index videos_replacing on videos (replaces) where replaces is not null;

alter table channels add column keep_as_videos boolean not null default true;
comment on column channels.keep_as_videos is 'a recorded broadcast becomes a video when it ends';

-- back
alter table channels drop column keep_as_videos;
delete from videos where replaces is not null;
alter table videos drop column mark;
alter table videos drop column replaces;
alter table videos drop column broadcast_id;
alter table videos drop column stretches;
