-- How the media of a video is encrypted when it is handed out.
alter table videos
    add column protection text not null default 'none' check (protection in ('none', 'aes-128', 'clearkey')),
    add column key_id uuid,
    add column sealed_key bytea,
    add constraint videos_protected_with_key
        check ((protection = 'none') = (key_id is null) and (key_id is null) = (sealed_key is null));
comment on column videos.sealed_key is 'the key of what is handed out, sealed with the secret of the installation';

-- back
alter table videos
    drop constraint videos_protected_with_key,
    drop column sealed_key,
    drop column key_id,
    drop column protection;
