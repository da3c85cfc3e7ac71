-- What was answered to requests with an Idempotency-Key, written in the transaction of their effect.

create table idempotency_keys (
    user_id uuid not null,
    key text not null,
    fingerprint bytea not null,
    -- null only inside the transaction that is still at work
    status smallint,
    answer bytea,
    expires_at timestamptz not null,
    primary key (user_id, key)
);
create index idempotency_keys_expires_at on idempotency_keys (expires_at);
comment on column idempotency_keys.fingerprint is 'HMAC of method, path, query, body and caller: the same request gives the same';
comment on column idempotency_keys.answer is 'headers, cookies and body, sealed: they may hold what is shown once';

-- back
drop table idempotency_keys;
