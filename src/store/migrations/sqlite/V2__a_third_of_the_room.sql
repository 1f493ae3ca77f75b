-- A history is mostly finished jobs: what many share is stored once, numbers that no query looks at are
-- packed, and what is absent is null.

-- Texts that many jobs share: features, authors, owners, queues.
create table name (
    n integer primary key,
    text text not null unique
);

-- What was asked for, but for what is each job's own. Many jobs share one.
create table spec (
    n integer primary key,
    feature integer not null,
    author integer not null,
    owner integer not null,
    queue integer not null,
    execution integer not null,
    max_attempts integer not null,
    priority integer not null,
    -- -1 for none.
    run_timeout integer not null,
    activity_timeout integer not null,
    max_lines integer not null,
    unique (feature, author, owner, queue, execution, max_attempts, priority, run_timeout, activity_timeout, max_lines)
);

drop index job_open;
drop index job_past;
drop index job_past_feature;
drop index job_past_status;
drop index job_past_author;
alter table job rename to job_1;

create table job (
    -- Never used twice: what is left of a removed job's log must not become another's.
    n integer primary key autoincrement,
    id blob not null unique,
    spec integer not null,
    -- The spec's, for the lists that are filtered by them.
    feature integer not null,
    author integer not null,
    title text,
    status integer not null,
    -- Null once it has ended; then among the facts.
    created_at integer,
    ended_at integer,
    progress real not null,
    -- Numbers that no query looks at, packed (src/store/sqlite/facts.rs).
    facts blob not null,
    pinned integer not null,
    error text,
    -- What is seldom there, as JSON: tags, input, output, abort and such; null where nothing is.
    more text
);

-- Jobs that were removed, and whose logs are too long to have gone with them.
create table ownerless (
    job integer primary key
);

insert into name (text) select feature from job_1 union select author from job_1 union select owner from job_1
    union select queue from job_1;

-- A million lines are what a log could have that was not told otherwise.
insert into spec (feature, author, owner, queue, execution, max_attempts, priority, run_timeout, activity_timeout, max_lines)
    select distinct feature.n, author.n, owner.n, queue.n, execution, max_attempts, priority,
        coalesce(run_timeout, -1), coalesce(activity_timeout, -1), 1000000
    from job_1
    join name as feature on feature.text = job_1.feature
    join name as author on author.text = job_1.author
    join name as owner on owner.text = job_1.owner
    join name as queue on queue.text = job_1.queue;

insert into job (n, id, spec, feature, author, title, status, created_at, ended_at, progress, facts, pinned, error, more)
    select job_1.n, id, spec.n, spec.feature, spec.author, title, status, iif(ended_at is null, created_at, null),
        ended_at, progress,
        facts_of_schema_1(id, created_at, ended_at, attempt, epoch, seq, revision, infos, warnings, errors, systems,
            operators, started_at, activity_at, heartbeat_at, progress_at, run_at, fenced, late_writes, late_write_at,
            message_key),
        0, error, nullif(more, '{}')
    from job_1
    join name as feature on feature.text = job_1.feature
    join name as author on author.text = job_1.author
    join name as owner on owner.text = job_1.owner
    join name as queue on queue.text = job_1.queue
    join spec on (spec.feature, spec.author, spec.owner, spec.queue, spec.execution, spec.max_attempts, spec.priority,
            spec.run_timeout, spec.activity_timeout, spec.max_lines)
        = (feature.n, author.n, owner.n, queue.n, job_1.execution, job_1.max_attempts, job_1.priority,
            coalesce(job_1.run_timeout, -1), coalesce(job_1.activity_timeout, -1), 1000000)
    order by job_1.n;

drop table job_1;

-- Equal times are told apart by n, which every index has at its end.
create index job_open on job (created_at) where ended_at is null;
create index job_past on job (ended_at) where ended_at is not null;
create index job_past_feature on job (feature, status, ended_at) where ended_at is not null;
create index job_past_author on job (author, status, ended_at) where ended_at is not null;
-- Most jobs complete, and are found among all; those that did not are few and are looked for.
create index job_past_status on job (status, ended_at) where status > 4;
create index job_pinned on job (n) where pinned = 1;
