-- Accounts elsewhere that sign in to accounts here.

create table signin_links (
    id uuid primary key,
    user_id uuid not null references users on delete cascade,
    provider text not null,
    authority text not null,
    subject text not null check (char_length(subject) between 1 and 255),
    name text not null default '',
    email text not null default '',
    created_at timestamptz not null,
    last_used_at timestamptz not null,
    unique (authority, subject),
    unique (user_id, provider)
);
comment on column signin_links.authority is
    'whose the subject is: the issuer, not its key in the settings, which the operator may give to another one';
comment on column signin_links.name is 'what the account is called there, for its owner to recognise';

-- who came back from a provider: a row is made when an attempt's state arrives, so that no state is good twice
create table signin_attempts (
    state bytea primary key check (octet_length(state) = 32),
    code bytea unique check (octet_length(code) = 32),
    sealed bytea,
    expires_at timestamptz not null
);
create index signin_attempts_expires on signin_attempts (expires_at);
comment on column signin_attempts.code is 'hash of what the page trades for tokens, once; sealed: who it is';

-- back
drop table signin_attempts;
drop table signin_links;
