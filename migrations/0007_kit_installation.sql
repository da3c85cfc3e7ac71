-- What belongs to the installation as a whole.

create table installation (
    name text primary key,
    secret bytea not null
);
comment on table installation is 'whoever reads this table can open what is sealed and sign what is signed';

-- back
drop table installation;
