-- What was given to a user belongs to the account and not to its name, and is void under the next password.
-- A user has one sign-in link at most. Devices with which somebody signed in are known again.

create table account_2 (
    id blob primary key,
    name text not null unique,
    role text not null,
    password text,
    password_number integer not null,
    created_at integer not null
) without rowid;

insert into account_2 (id, name, role, password, password_number, created_at)
select randomblob(16), name, role, password, 0, created_at from account;

create table session_2 (
    hash blob primary key,
    account blob not null,
    password_number integer not null,
    created_at integer not null,
    expires_at integer not null,
    address text not null,
    agent text not null
) without rowid;

insert into session_2 (hash, account, password_number, created_at, expires_at, address, agent)
select session.hash, account_2.id, 0, session.created_at, session.expires_at, '', ''
from session join account_2 on account_2.name = session.account;

create table sign_in_link_2 (
    account blob primary key,
    hash blob not null unique,
    password_number integer not null,
    expires_at integer not null
) without rowid;

insert or replace into sign_in_link_2 (account, hash, password_number, expires_at)
select account_2.id, sign_in_link.hash, 0, sign_in_link.expires_at
from sign_in_link join account_2 on account_2.name = sign_in_link.account
order by sign_in_link.expires_at;

drop table session;
drop table sign_in_link;
drop table account;
alter table account_2 rename to account;
alter table session_2 rename to session;
alter table sign_in_link_2 rename to sign_in_link;

create index session_account on session (account);

create table device (
    hash blob not null,
    account blob not null,
    seen_at integer not null,
    primary key (hash, account)
) without rowid;

create index device_account on device (account, seen_at);
