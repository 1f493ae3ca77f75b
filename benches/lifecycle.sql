-- The four calls of a job's life as transactions of their own: the statements the store sends for one.
\set slot :client_id % 64
begin;
select nextval('job_n') as n \gset
insert into job (n, id, feature, author, owner, title, execution, max_attempts, queue, priority, created_at, run_at, run_timeout, activity_timeout, tags, status, attempt, epoch, progress, started_at, ended_at, activity_at, progress_at, heartbeat_at, seq, revision, infos, warnings, errors, systems, operators, fenced, late_writes, late_write_at, message_key, error, more, max_lines, pinned) values (:n, gen_random_uuid(), 'load-1', 'bootstrap', 'token-bootstrap', null, 0, 1, 'default', 0, 1795493175660, null, 1800000, 600000, '', 2, 1, 1, 0, 1795493175660, null, 1795493175660, null, 1795493175660, 1, 1, 0, 0, 0, 1, 0, false, 0, null, 0, null, null, 1000000, false);
insert into event (job, seq, at, kind, text, step, data) values (:n, 1, 1795493175660, 3, 'Started by token bootstrap', null, '{"source":{"actor":{"kind":"token","name":"bootstrap"}},"kind":{"type":"created","spec":{"feature":"load-1","author":"bootstrap","owner":"token-bootstrap","timeouts":{"run":{"secs": 1800,"nanos": 0},"activity":{"secs": 600,"nanos": 0}}}}}');
insert into counter (slot, feature, status, n) values (:slot, 'load-1', 2, 1) on conflict (slot, feature, status) do update set n = counter.n + excluded.n;
insert into change (node, jobs, removed) values ('00000000-0000-0000-0000-000000000001', array[:n]::bigint[], '{}');
select status, sum(n)::bigint from counter group by status;
commit;
begin;
select * from job where n = :n for update;
update job set status = 2, attempt = 1, epoch = 1, progress = 0.5, activity_at = 1795493175661, progress_at = 1795493175661, heartbeat_at = 1795493175661, seq = 1, revision = 2, systems = 1, more = '{"recordedAt": 1795493175661}' where n = :n;
insert into change (node, jobs, removed) values ('00000000-0000-0000-0000-000000000001', array[:n]::bigint[], '{}');
select status, sum(n)::bigint from counter group by status;
commit;
begin;
select * from job where n = :n for update;
update job set status = 2, attempt = 1, epoch = 1, progress = 0.5, activity_at = 1795493175662, heartbeat_at = 1795493175662, seq = 2, revision = 3, infos = 1, more = '{"lastMessage":{"level":"info","text":"Row 7 of the import was stored"}}' where n = :n;
insert into event (job, seq, at, kind, text, step, data) values (:n, 2, 1795493175662, 0, 'Row 7 of the import was stored', null, null);
insert into change (node, jobs, removed) values ('00000000-0000-0000-0000-000000000001', array[:n]::bigint[], '{}');
select status, sum(n)::bigint from counter group by status;
commit;
begin;
select * from job where n = :n for update;
update job set status = 4, attempt = 1, epoch = 1, progress = 1, ended_at = 1795493175663, activity_at = 1795493175663, heartbeat_at = 1795493175663, seq = 3, revision = 4, systems = 2 where n = :n;
insert into event (job, seq, at, kind, text, step, data) values (:n, 3, 1795493175663, 3, 'Completed', null, '{"source":"run","kind":{"type":"completed","output": null,"after_abort": false}}');
insert into counter (slot, feature, status, n) values (:slot, 'load-1', 2, -1), (:slot, 'load-1', 4, 1) on conflict (slot, feature, status) do update set n = counter.n + excluded.n;
insert into ended (slot, day, status, n) values (:slot, 20781, 4, 1) on conflict (day, status, slot) do update set n = ended.n + excluded.n;
insert into change (node, jobs, removed) values ('00000000-0000-0000-0000-000000000001', array[:n]::bigint[], '{}');
select status, sum(n)::bigint from counter group by status;
commit;
