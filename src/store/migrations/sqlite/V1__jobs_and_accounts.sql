-- Times are milliseconds since the Unix epoch, UTC. Durations are milliseconds. Numbers of enums are
-- those of the model and are never reused. A history is mostly finished jobs: what many share is
-- stored once, numbers that no query looks at are packed, and what is absent is null.

-- Texts that many jobs share: features and authors.
create table name (
    n integer primary key,
    text text not null unique
);

-- What was asked for, but for what is each job's own. Many jobs share one.
create table spec (
    n integer primary key,
    feature integer not null,
    author integer not null,
    -- The rest of it, as JSON.
    rest text not null,
    unique (feature, author, rest)
);

create table job (
    -- Never used twice: what is left of a removed job's log must not become another's.
    n integer primary key autoincrement,
    -- No two jobs have the same: seen to by whoever adds one.
    id blob not null,
    spec integer not null,
    -- The spec's, for the lists that are filtered by them.
    feature integer not null,
    author integer not null,
    title text,
    status integer not null,
    -- Null once it has ended; then among the numbers.
    created_at integer,
    ended_at integer,
    progress real not null,
    -- Numbers that no query looks at, packed (src/store/sqlite/numbers.rs).
    numbers blob not null,
    pinned integer not null,
    error text,
    -- What no query looks at and is seldom there, as JSON: tags, input, output, abort and such; null where nothing is.
    more text
);

-- Half an id is the time to the millisecond and twelve bits of chance. The row says whether it is the one.
create index job_id on job (substr(id, 1, 8));
-- Equal times are told apart by n, which every index has at its end.
create index job_open on job (created_at) where ended_at is null;
create index job_past on job (ended_at) where ended_at is not null;
-- There are seven outcomes.
create index job_past_feature on job (feature * 8 + status, ended_at) where ended_at is not null;
create index job_past_author on job (author * 8 + status, ended_at) where ended_at is not null;
-- Most jobs complete, and are found among all; those that did not are few and are looked for.
create index job_past_status on job (status, ended_at) where status > 4;
create index job_pinned on job (n) where pinned = 1;

-- Jobs that were removed, and whose logs are too long to have gone with them.
create table ownerless (
    job integer primary key
);

create table event (
    job integer not null,
    seq integer not null,
    at integer not null,
    kind integer not null,
    text text not null,
    step text,
    -- Who it comes from and what it is, as JSON. For a message of the run its key, or null.
    data text,
    primary key (job, seq)
) without rowid;

-- Most lines are infos, and are found by their sequence; the others are few and are looked for.
create index event_kind on event (job, kind, seq) where kind <> 0;

create table step (
    job integer not null,
    i integer not null,
    parent integer,
    id text not null,
    title text,
    weight real not null,
    progress real not null,
    started_at integer,
    ended_at integer,
    primary key (job, i)
) without rowid;

-- How many jobs there are. Changed in the transaction that changes the jobs.
create table counter (
    feature text not null,
    status integer not null,
    n integer not null,
    primary key (feature, status)
) without rowid;

-- How many jobs ended on a UTC day. Outlives the jobs.
create table ended (
    day integer not null,
    status integer not null,
    n integer not null,
    primary key (day, status)
) without rowid;

create table idempotency (
    key text primary key,
    fingerprint text not null,
    job blob not null,
    at integer not null
) without rowid;

create index idempotency_at on idempotency (at);

create table account (
    name text primary key,
    role text not null,
    password text,
    created_at integer not null
) without rowid;

create table session (
    hash blob primary key,
    account text not null,
    created_at integer not null,
    expires_at integer not null
) without rowid;

create table token (
    name text primary key,
    hash blob not null unique,
    role text not null,
    act_as integer not null,
    created_at integer not null,
    expires_at integer
) without rowid;

create table sign_in_link (
    hash blob primary key,
    account text not null,
    expires_at integer not null
) without rowid;

-- Written to see whether the disk takes writes.
create table probe (
    one integer primary key check (one = 1),
    at integer not null
);

-- What was last believed of the clock, for the next start: a server whose clock is far ahead of it removes and ends
-- nothing until somebody has looked.
create table clock (
    one integer primary key check (one = 1),
    believed integer not null,
    -- 1 while a server runs by a clock that nobody believes.
    doubted integer not null
);
