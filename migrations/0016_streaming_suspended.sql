-- A channel whose owner is leaving: it cannot be pushed to, and nothing of it is shown.
alter table channels add column suspended boolean not null default false;

-- back
alter table channels drop column suspended;
