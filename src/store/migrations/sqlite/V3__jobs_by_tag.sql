-- The labels of ended jobs, for the lists that are filtered by them. Open jobs are few, and theirs are looked for in the
-- jobs. A label is here as the job's JSON has it, quotes and all, so that no two are taken for one.
create table job_tag (
    tag text not null,
    status integer not null,
    ended_at integer not null,
    -- The job's row.
    job integer not null,
    feature integer not null,
    primary key (tag, status, ended_at, job)
) without rowid;

insert or ignore into job_tag (tag, status, ended_at, job, feature)
select job.more -> label.fullkey, job.status, job.ended_at, job.n, job.feature
from job, json_each(case when json_valid(job.more) then job.more end, '$.tags') as label
where job.ended_at is not null and job.more is not null;
