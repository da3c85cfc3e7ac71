-- What people say of themselves, how they want the product and who may see what; the archive of their data; leaving.

create table profiles (
    user_id uuid primary key references users on delete cascade,
    version integer not null default 1,
    bio text not null default '' check (char_length(bio) <= 500),
    website text not null default '' check (char_length(website) <= 500),
    location text not null default '' check (char_length(location) <= 100),
    links jsonb not null default '[]' check (jsonb_typeof(links) = 'array'),
    avatar text,
    username_changed_at timestamptz,
    preferences jsonb not null default '{}' check (jsonb_typeof(preferences) = 'object'),
    preferences_version integer not null default 1,
    privacy jsonb not null default '{}' check (jsonb_typeof(privacy) = 'object'),
    privacy_version integer not null default 1
);
comment on table profiles is 'no row: everything as by default';
comment on column profiles.avatar is 'the random name under which the pictures are stored';
create index profiles_avatar on profiles (avatar) where avatar is not null;

-- Names that somebody had until lately. Nobody else gets them, however an account is made or renamed: a link to the old
-- name must not lead to a stranger. Only a digest is kept, so that a deleted account's name is not in the tables.
create table held_usernames (
    digest bytea primary key check (octet_length(digest) = 32),
    user_id uuid references users on delete set null,
    until timestamptz not null
);
comment on column held_usernames.user_id is 'who may take it back';
create index held_usernames_until on held_usernames (until);
create index held_usernames_user on held_usernames (user_id);

create function username_digest(name text) returns bytea language sql immutable
    return sha256(convert_to('username:' || lower(name), 'UTF8'));

-- A held name counts as taken: like a conflict on the name, the row is skipped.
create function users_keep_held() returns trigger language plpgsql as $$
begin
    if tg_op = 'UPDATE' and lower(new.username) = lower(old.username) then
        return new;
    end if;
    if exists (
        select from held_usernames
        where digest = username_digest(new.username) and until > now() and user_id is distinct from new.id
    ) then
        return null;
    end if;
    return new;
end
$$;
create trigger users_keep_held before insert or update of username on users
    for each row execute function users_keep_held();

create table exports (
    id uuid primary key,
    user_id uuid not null references users on delete cascade,
    state text not null check (state in ('waiting', 'running', 'ready', 'failed', 'expired')),
    media boolean not null default false,
    asked_at timestamptz not null,
    ready_at timestamptz,
    expires_at timestamptz,
    attempts integer not null default 0,
    prefix text,
    pieces integer not null default 0,
    piece_bytes bigint not null default 0,
    bytes bigint not null default 0,
    done integer not null default 0,
    total integer not null default 0,
    token_hash bytea unique check (octet_length(token_hash) = 32)
);
comment on column exports.prefix is 'the random name under which the newest attempt stores its pieces; an older attempt may not finish';
create unique index exports_one_at_a_time on exports (user_id) where state in ('waiting', 'running');
create index exports_user on exports (user_id, id desc);
create index exports_expires on exports (expires_at) where state = 'ready';

create table departures (
    user_id uuid primary key references users on delete cascade,
    asked_at timestamptz not null,
    due_at timestamptz not null
);
comment on table departures is 'accounts that are disabled because their owners leave, and will be erased when due';
create index departures_due on departures (due_at);

-- back
drop table departures;
drop table exports;
drop trigger users_keep_held on users;
drop function users_keep_held();
drop table held_usernames;
drop function username_digest(text);
drop table profiles;
