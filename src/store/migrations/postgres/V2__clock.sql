-- What was last believed of the servers' clocks, for the next start: a server whose clock is far ahead of it removes
-- and ends nothing until somebody has looked.
create table clock (
    one boolean primary key check (one),
    believed bigint not null,
    -- True while a server runs by a clock that nobody believes.
    doubted boolean not null
);
