-- How many watch, as the process that holds the live side counted last: what the other processes of a fleet show.
alter table broadcasts add column viewers integer not null default 0;

-- back
alter table broadcasts drop column viewers;
