-- The log of security events: lines are added, never changed.
--
-- A trigger refuses every update, delete and truncate, with two exceptions that a transaction has to announce by
-- `set local social_flow.audit = '…'`: 'erasure' may take what is personal out of a line (its event and time stay),
-- 'retention' may delete lines older than 30 days. It holds against mistakes and injected SQL, not against whoever
-- owns the database.

create table audit_log (
    id uuid primary key,
    at timestamptz not null,
    user_id uuid not null,
    actor_id uuid,
    event text not null check (event ~ '^[a-z_]+\.[a-z_]+$' and char_length(event) <= 60),
    address text not null default '',
    user_agent text not null default '',
    request_id text not null default '',
    details jsonb not null default '{}' check (jsonb_typeof(details) = 'object')
);
comment on column audit_log.user_id is 'whose log it is; no reference, as the line outlives the account';
comment on column audit_log.actor_id is 'who did it, when that was somebody else';

create index audit_log_user on audit_log (user_id, id desc);
create index audit_log_event on audit_log (event, id desc);
create index audit_log_actor on audit_log (actor_id, id desc) where actor_id is not null;
create index audit_log_at on audit_log (at);

create function audit_log_keep() returns trigger language plpgsql as $$
declare
    announced text := coalesce(current_setting('social_flow.audit', true), '');
begin
    if tg_op = 'UPDATE' and announced = 'erasure' then
        if (new.id, new.at, new.event) = (old.id, old.at, old.event)
            and (new.actor_id is null) = (old.actor_id is null)
            and (new.address, new.user_agent, new.request_id, new.details) = ('', '', '', '{}'::jsonb)
        then
            return new;
        end if;
    elsif tg_op = 'DELETE' and announced = 'retention' then
        if old.at < now() - interval '30 days' then
            return old;
        end if;
    end if;
    raise exception 'the audit log takes new lines only' using errcode = 'insufficient_privilege';
end
$$;

create trigger audit_log_keep_rows before update or delete on audit_log
    for each row execute function audit_log_keep();
create trigger audit_log_keep_table before truncate on audit_log
    for each statement execute function audit_log_keep();
-- also where an operator's session skips ordinary triggers, as replication does
alter table audit_log enable always trigger audit_log_keep_rows;
alter table audit_log enable always trigger audit_log_keep_table;

-- back
drop table audit_log;
drop function audit_log_keep();
