-- How sessions were signed in to, what is mailed to prove an address, and what slows down guessing.

alter table users
    add column tier text not null default 'free' check (tier in ('free', 'basic', 'pro', 'enterprise')),
    add column email_lapsed_at timestamptz;
comment on column users.password_hash is 'empty: nobody signs in with a password';
comment on column users.email_lapsed_at is
    'since then the address is somebody else''s and this account''s claim is void; its holder is not told';

alter table sessions
    add column methods text[] not null default '{pwd}',
    add column proven_at timestamptz,
    add column device text not null default '';
update sessions set proven_at = created_at;
alter table sessions alter column proven_at set not null;
comment on column sessions.methods is 'what was shown to sign in, as in RFC 8176: pwd, otp, passkey, oidc:google, recovery';
comment on column sessions.proven_at is 'when the person last showed a password or another factor';

-- accounts whose roles, tier or name changed while their access tokens, which say otherwise, are still good
create table account_changes (
    user_id uuid primary key,
    at timestamptz not null
);
create index account_changes_at on account_changes (at);

-- single-use tokens sent by mail; a newer one of the same purpose replaces the older
create table mail_tokens (
    hash bytea primary key check (octet_length(hash) = 32),
    user_id uuid not null references users on delete cascade,
    purpose text not null check (purpose in ('verify', 'reset', 'change')),
    email text not null,
    email_key text not null,
    created_at timestamptz not null,
    expires_at timestamptz not null,
    unique (user_id, purpose)
);
comment on column mail_tokens.email is 'where it was sent; for a change, the address that will be the account''s';
create index mail_tokens_expires on mail_tokens (expires_at);

-- where an account signed in from before: a network, or the cookie of a device; judged apart from strangers
create table known_devices (
    user_id uuid not null references users on delete cascade,
    key bytea not null check (octet_length(key) = 32),
    last_used_at timestamptz not null,
    primary key (user_id, key)
);
create index known_devices_last_used on known_devices (last_used_at);

-- how often something was tried in vain, by a digest of what is counted; says nothing about whether it exists
create table attempts (
    key bytea primary key check (octet_length(key) = 32),
    failures integer not null,
    last_at timestamptz not null,
    blocked_until timestamptz not null
);
create index attempts_last on attempts (last_at);

-- back
drop table attempts;
drop table known_devices;
drop table mail_tokens;
drop table account_changes;
alter table sessions
    drop column methods,
    drop column proven_at,
    drop column device;
alter table users
    drop column tier,
    drop column email_lapsed_at;
