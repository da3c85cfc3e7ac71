-- The key with which viewers' cookies are signed and addresses made unreadable: one, made by the first process that starts and shared by
-- all, so that a viewer is the same one on every node.
create table viewer_key (
    one boolean primary key default true check (one),
    key bytea not null
);

-- back
drop table viewer_key;
