-- What was given to a user belongs to the account and not to its name, and is void under the next password.
-- A user has one sign-in link at most. Devices with which somebody signed in are known again.

alter table account add column id uuid not null default gen_random_uuid();
alter table account add column password_number bigint not null default 0;
alter table account alter column id drop default;
alter table account alter column password_number drop default;
alter table account drop constraint account_pkey;
alter table account add primary key (id);
alter table account add constraint account_name_key unique (name);

create table session_3 (
    hash bytea primary key,
    account uuid not null,
    password_number bigint not null,
    created_at bigint not null,
    expires_at bigint not null,
    address text not null,
    agent text not null
);

insert into session_3 (hash, account, password_number, created_at, expires_at, address, agent)
select session.hash, account.id, 0, session.created_at, session.expires_at, '', ''
from session join account on account.name = session.account;

create table sign_in_link_3 (
    account uuid primary key,
    hash bytea not null unique,
    password_number bigint not null,
    expires_at bigint not null
);

insert into sign_in_link_3 (account, hash, password_number, expires_at)
select distinct on (account.id) account.id, sign_in_link.hash, 0, sign_in_link.expires_at
from sign_in_link join account on account.name = sign_in_link.account
order by account.id, sign_in_link.expires_at desc;

drop table session;
drop table sign_in_link;
alter table session_3 rename to session;
alter table sign_in_link_3 rename to sign_in_link;

create index session_account on session (account);

create table device (
    hash bytea not null,
    account uuid not null,
    seen_at bigint not null,
    primary key (hash, account)
);

create index device_account on device (account, seen_at);
