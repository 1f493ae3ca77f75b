-- The labels of ended jobs, for the lists that are filtered by them. Open jobs are few, and theirs are looked for in the
-- jobs.
create table job_tag (
    -- As it stands in the job's tags.
    tag text collate "C" not null,
    status smallint not null,
    ended_at bigint not null,
    id uuid not null,
    -- The job's row.
    job bigint not null,
    feature text not null,
    primary key (tag, status, ended_at, id)
);

insert into job_tag (tag, status, ended_at, id, job, feature)
select distinct label, status, ended_at, id, n, feature
from job cross join lateral unnest(string_to_array(trim(both chr(31) from tags), chr(31))) as label
where ended_at is not null and tags <> '';
