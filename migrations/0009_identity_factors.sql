-- Second factors: authenticator apps, recovery codes, passkeys.

create table totp_secrets (
    user_id uuid primary key references users on delete cascade,
    secret bytea,
    confirmed_at timestamptz,
    last_step bigint not null default 0,
    pending bytea,
    pending_at timestamptz,
    check ((secret is null) = (confirmed_at is null)),
    check ((pending is null) = (pending_at is null))
);
comment on column totp_secrets.secret is 'sealed for the account; null until a code of it was shown to be right';
comment on column totp_secrets.last_step is 'the time step of the last code that was taken: none of it or before is good again';
comment on column totp_secrets.pending is 'sealed; shown to the person, takes the place of the secret with its first right code';

create table recovery_codes (
    user_id uuid not null references users on delete cascade,
    hash bytea not null check (octet_length(hash) = 32),
    used_at timestamptz,
    primary key (user_id, hash)
);

create table passkeys (
    id uuid primary key,
    user_id uuid not null references users on delete cascade,
    credential_id bytea not null unique check (octet_length(credential_id) between 1 and 1023),
    public_key bytea not null,
    sign_count bigint not null,
    name text not null check (char_length(name) between 1 and 100),
    aaguid uuid not null,
    transports text[] not null default '{}',
    synced boolean not null,
    created_at timestamptz not null,
    last_used_at timestamptz
);
create index passkeys_user on passkeys (user_id, created_at);
comment on column passkeys.public_key is 'COSE (RFC 9052)';
comment on column passkeys.synced is 'whether the authenticator may copy it to other devices of its owner';

-- challenges that somebody has tried to answer; those nobody answers leave no row
create table factor_challenges (
    id uuid primary key,
    attempts integer not null default 0,
    spent_at timestamptz,
    expires_at timestamptz not null
);
create index factor_challenges_expires on factor_challenges (expires_at);

-- wrong answers of one kind for an account, whatever address they came from
create table factor_failures (
    user_id uuid not null references users on delete cascade,
    kind text not null,
    failures integer not null default 0,
    failed_at timestamptz,
    locked_until timestamptz,
    primary key (user_id, kind)
);

-- back
drop table factor_failures;
drop table factor_challenges;
drop table passkeys;
drop table recovery_codes;
drop table totp_secrets;
