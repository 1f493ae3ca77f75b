-- A finished job in a tenth less room: an id is found by its first half, a feature or an author and an outcome
-- are one number in their index, and of the packed numbers only the unusual ones are kept.

drop index job_open;
drop index job_past;
drop index job_past_feature;
drop index job_past_author;
drop index job_past_status;
drop index job_pinned;
alter table job rename to job_2;

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

insert into job (n, id, spec, feature, author, title, status, created_at, ended_at, progress, facts, pinned, error, more)
    select n, id, spec, feature, author, title, status, created_at, ended_at, progress,
        facts_of_schema_2(id, facts, created_at, ended_at), pinned, error, more
    from job_2
    order by n;

-- Also those that jobs had which were removed.
delete from sqlite_sequence where name = 'job';
insert into sqlite_sequence (name, seq) select 'job', seq from sqlite_sequence where name = 'job_2';
drop table job_2;

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
