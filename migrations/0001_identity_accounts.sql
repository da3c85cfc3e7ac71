-- Accounts, their sessions and the keys that sign access tokens.

create table users (
    id uuid primary key,
    username text not null check (char_length(username) between 3 and 30),
    username_key text not null generated always as (lower(username)) stored unique,
    display_name text not null default '' check (char_length(display_name) <= 100),
    email text not null check (char_length(email) <= 254),
    email_key text not null,
    email_verified_at timestamptz,
    password_hash text not null,
    roles text[] not null default '{}',
    created_at timestamptz not null,
    disabled_at timestamptz
);
comment on column users.email_key is 'the address in the form that is compared; several unverified accounts may share one';

-- an address is owned by whoever has shown that he reads it
create unique index users_email_owner on users (email_key) where email_verified_at is not null;
create index users_email on users (email_key, created_at);

-- one signing-in on one device; the family of its refresh tokens
create table sessions (
    id uuid primary key,
    user_id uuid not null references users on delete cascade,
    created_at timestamptz not null,
    last_used_at timestamptz not null,
    expires_at timestamptz not null,
    revoked_at timestamptz,
    revoked_for text,
    address text not null default '',
    user_agent text not null default ''
);
create index sessions_user on sessions (user_id, created_at);
create index sessions_expires on sessions (expires_at);

create table refresh_tokens (
    hash bytea primary key check (octet_length(hash) = 32),
    session_id uuid not null references sessions on delete cascade,
    issued_at timestamptz not null,
    used_at timestamptz
);
create index refresh_tokens_session on refresh_tokens (session_id, issued_at);

-- sessions whose access tokens are refused before they expire; outlives the session's row, pruned once the tokens are old
create table session_revocations (
    session_id uuid primary key,
    at timestamptz not null
);
create index session_revocations_at on session_revocations (at);

create table signing_keys (
    kid text primary key,
    seed bytea not null check (octet_length(seed) = 32),
    created_at timestamptz not null,
    retired_at timestamptz
);
comment on table signing_keys is 'Ed25519 private keys: whoever reads this table can make access tokens';

-- back
drop table signing_keys;
drop table session_revocations;
drop table refresh_tokens;
drop table sessions;
drop table users;
