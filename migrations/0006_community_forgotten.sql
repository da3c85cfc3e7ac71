-- A room whose broadcast was deleted stays as an empty row that takes no more: a message that was on its way when that happened must not
-- make the room anew.
alter table chat_rooms add column forgotten boolean not null default false;

-- back
delete from chat_rooms where forgotten;
alter table chat_rooms drop column forgotten;
