-- whoever else claims an address that somebody has verified: looked for at each verification
create index mail_tokens_email on mail_tokens (email_key);
-- the administrators, of whom one has to stay: few among all accounts
create index users_administrators on users (id) where 'admin' = any (roles);

-- back
drop index users_administrators;
drop index mail_tokens_email;
