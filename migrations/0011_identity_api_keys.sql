-- API keys: what programs of an account call with.

create table api_keys (
    id uuid primary key,
    user_id uuid not null references users on delete cascade,
    name text not null check (char_length(name) between 1 and 60),
    prefix text not null unique check (prefix ~ '^[0-9A-Za-z]{10}$'),
    hash bytea not null check (octet_length(hash) = 32),
    scopes text[] not null check (cardinality(scopes) between 1 and 100),
    created_at timestamptz not null,
    expires_at timestamptz,
    last_used_at timestamptz
);
comment on column api_keys.hash is 'SHA-256 of the key, which has 256 random bits';

create index api_keys_user on api_keys (user_id, id desc);
create index api_keys_expires on api_keys (expires_at) where expires_at is not null;

-- back
drop table api_keys;
