-- Times are milliseconds since the Unix epoch, UTC, by the clock of the node that wrote them; what nodes
-- compare with each other is told by the database's own clock. Durations are milliseconds. Numbers of enums
-- are those of the model and are never reused. Text is stored as the program's `text` module writes it: a
-- PostgreSQL text cannot hold U+0000.

create sequence job_n;

create table job (
    n bigint primary key,
    id uuid not null unique,
    feature text not null,
    author text not null,
    owner text not null,
    title text,
    status smallint not null,
    execution smallint not null,
    attempt bigint not null,
    max_attempts bigint not null,
    epoch bigint not null,
    queue text not null,
    priority integer not null,
    progress double precision not null,
    created_at bigint not null,
    run_at bigint,
    started_at bigint,
    ended_at bigint,
    activity_at bigint not null,
    progress_at bigint,
    heartbeat_at bigint,
    -- -1 for none.
    run_timeout bigint not null,
    activity_timeout bigint not null,
    max_lines bigint not null,
    seq bigint not null,
    revision bigint not null,
    infos bigint not null,
    warnings bigint not null,
    errors bigint not null,
    systems bigint not null,
    operators bigint not null,
    fenced boolean not null,
    late_writes bigint not null,
    late_write_at bigint,
    message_key bigint not null,
    pinned boolean not null,
    error text,
    -- Each between two U+001F.
    tags text not null,
    -- What no query looks at and is seldom there, as JSON: input, output, abort, last message and such.
    more text
-- Most changes are of numbers that no index holds: room for them on the same page.
) with (fillfactor = 80);

create index job_open on job (created_at, id) where ended_at is null;
create index job_past on job (ended_at, id) where ended_at is not null;
create index job_past_feature on job (feature, status, ended_at, id) where ended_at is not null;
create index job_past_author on job (author, status, ended_at, id) where ended_at is not null;
-- Most jobs complete, and are found among all; those that did not are few and are looked for.
create index job_past_status on job (status, ended_at, id) where status > 4;
create index job_open_feature on job (feature) where ended_at is null;
create index job_pinned on job (n) where pinned;

create table event (
    job bigint not null,
    seq bigint not null,
    at bigint not null,
    kind smallint not null,
    text text not null,
    step text,
    -- Who it comes from and what it is, as JSON. For a message of the run its key, or null.
    data text,
    primary key (job, seq)
);

-- Most lines are infos, and are found by their sequence; the others are few and are looked for.
create index event_kind on event (job, kind, seq) where kind <> 0;

create table step (
    job bigint not null,
    i integer not null,
    parent integer,
    id text not null,
    title text,
    weight double precision not null,
    progress double precision not null,
    started_at bigint,
    ended_at bigint,
    primary key (job, i)
);

-- How many jobs there are: the sum over all slots. Changed in the transaction that changes the jobs. A node
-- adds to the slot it drew, so that nodes do not wait for each other's commits; a single row may be negative.
create table counter (
    slot smallint not null,
    feature text not null,
    status smallint not null,
    n bigint not null,
    primary key (slot, feature, status)
) with (fillfactor = 50);

-- How many jobs ended on a UTC day. Outlives the jobs.
create table ended (
    day bigint not null,
    status smallint not null,
    slot smallint not null,
    n bigint not null,
    primary key (day, status, slot)
) with (fillfactor = 50);

create table idempotency (
    key text primary key,
    fingerprint text not null,
    job uuid not null,
    at bigint not null
);

create index idempotency_at on idempotency (at);

-- What each transaction changed, for the other nodes. A row is looked for by the transaction that wrote it:
-- whoever has seen everything up to the oldest one still running misses none, in whatever order they commit.
create table change (
    xid xid8 not null default pg_current_xact_id(),
    at timestamptz not null default now(),
    node uuid not null,
    jobs bigint[] not null,
    removed uuid[] not null
);

create index change_xid on change (xid);

-- The servers that share this database.
create table node (
    id uuid primary key,
    name text not null,
    started_at timestamptz not null default now(),
    seen_at timestamptz not null default now()
);

create table account (
    name text primary key,
    role text not null,
    password text,
    created_at bigint not null
);

create table session (
    hash bytea primary key,
    account text not null,
    created_at bigint not null,
    expires_at bigint not null
);

create table token (
    name text primary key,
    hash bytea not null unique,
    role text not null,
    act_as boolean not null,
    created_at bigint not null,
    expires_at bigint
);

create table sign_in_link (
    hash bytea primary key,
    account text not null,
    expires_at bigint not null
);
