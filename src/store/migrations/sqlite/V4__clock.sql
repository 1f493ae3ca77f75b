-- What was last believed of the clock, for the next start: a server whose clock is far ahead of it removes and ends
-- nothing until somebody has looked.
create table clock (
    one integer primary key check (one = 1),
    believed integer not null,
    -- 1 while a server runs by a clock that nobody believes.
    doubted integer not null
);
