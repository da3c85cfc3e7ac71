-- Counts the edits of a broadcast by people, for ETag and If-Match.
alter table broadcasts add column version integer not null default 1;

-- back
alter table broadcasts drop column version;
