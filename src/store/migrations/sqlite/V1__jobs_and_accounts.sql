-- Times are milliseconds since the Unix epoch, UTC. Durations are milliseconds. Numbers of enums are
-- those of the model and are never reused.

create table job (
    n integer primary key,
    id blob not null unique,
    feature text not null,
    author text not null,
    owner text not null,
    title text,
    status integer not null,
    execution integer not null,
    attempt integer not null,
    max_attempts integer not null,
    epoch integer not null,
    queue text not null,
    priority integer not null,
    progress real not null,
    created_at integer not null,
    run_at integer,
    started_at integer,
    ended_at integer,
    activity_at integer not null,
    progress_at integer,
    heartbeat_at integer,
    run_timeout integer,
    activity_timeout integer,
    seq integer not null,
    revision integer not null,
    infos integer not null,
    warnings integer not null,
    errors integer not null,
    systems integer not null,
    operators integer not null,
    fenced integer not null,
    late_writes integer not null,
    late_write_at integer,
    message_key integer not null,
    error text,
    -- What no query looks at, as JSON: tags, input, output, abort, last message and such.
    more text not null
);

create index job_open on job (created_at, id) where ended_at is null;
create index job_past on job (ended_at, id) where ended_at is not null;
create index job_past_feature on job (feature, ended_at, id) where ended_at is not null;
create index job_past_status on job (status, ended_at, id) where ended_at is not null;
create index job_past_author on job (author, ended_at, id) where ended_at is not null;

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
