-- Who follows whom, and since when.

create table follow_people (
    user_id uuid primary key references users on delete cascade,
    followers integer not null default 0 check (followers >= 0),
    away boolean not null default false
);
comment on column follow_people.followers is 'how many follow him, without those who are away';
comment on column follow_people.away is 'he is leaving: nobody sees that he follows, or is followed';

create table follows (
    follower_id uuid not null references follow_people on delete cascade,
    followee_id uuid not null references follow_people on delete cascade,
    since timestamptz not null,
    primary key (follower_id, followee_id),
    check (follower_id <> followee_id)
);
create index follows_following on follows (follower_id, since desc, followee_id desc);
create index follows_followers on follows (followee_id, since desc, follower_id desc);

-- back
drop table follows;
drop table follow_people;
