PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE refinery_schema_history(
             version int4 PRIMARY KEY,
             name VARCHAR(255),
             applied_on VARCHAR(255),
             checksum VARCHAR(255));
INSERT INTO refinery_schema_history VALUES(1,'jobs_and_accounts','2026-11-27T18:14:02.169333227Z','11458696915975627075');
CREATE TABLE name (
    n integer primary key,
    text text not null unique
);
INSERT INTO name VALUES(1,'import');
INSERT INTO name VALUES(2,'bootstrap');
INSERT INTO name VALUES(3,'aborting');
INSERT INTO name VALUES(4,'export');
INSERT INTO name VALUES(5,'broken');
INSERT INTO name VALUES(6,'hung');
INSERT INTO name VALUES(7,'stopped');
CREATE TABLE spec (
    n integer primary key,
    feature integer not null,
    author integer not null,
    -- The rest of it, as JSON.
    rest text not null,
    unique (feature, author, rest)
);
INSERT INTO spec VALUES(1,1,2,'{"owner":"token:bootstrap","timeouts":{"run":null,"activity":null},"execution":"external","max_attempts":1,"queue":"default","priority":0}');
INSERT INTO spec VALUES(2,3,2,'{"owner":"token:bootstrap","timeouts":{"run":null,"activity":null},"execution":"external","max_attempts":1,"queue":"default","priority":0}');
INSERT INTO spec VALUES(3,4,2,'{"owner":"token:bootstrap","timeouts":{"run":{"secs":1800,"nanos":0},"activity":{"secs":600,"nanos":0}},"execution":"external","max_attempts":1,"queue":"default","priority":0}');
INSERT INTO spec VALUES(4,5,2,'{"owner":"token:bootstrap","timeouts":{"run":{"secs":1800,"nanos":0},"activity":{"secs":600,"nanos":0}},"execution":"external","max_attempts":1,"queue":"default","priority":0}');
INSERT INTO spec VALUES(5,6,2,'{"owner":"token:bootstrap","timeouts":{"run":{"secs":1800,"nanos":0},"activity":{"secs":600,"nanos":0}},"execution":"external","max_attempts":1,"queue":"default","priority":0}');
INSERT INTO spec VALUES(6,7,2,'{"owner":"token:bootstrap","timeouts":{"run":{"secs":1800,"nanos":0},"activity":{"secs":600,"nanos":0}},"execution":"external","max_attempts":1,"queue":"default","priority":0}');
CREATE TABLE job (
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
INSERT INTO job VALUES(1,X'01a20bbba16c7347b1c3f12490d2a32a',1,1,2,'Import of the night',2,1795493175660,NULL,0.5,X'958e2006011519180102',0,NULL,'{"tags":["night"],"input":{"rows":5},"lastMessage":{"level":"warning","text":"it''s slow ü"},"recordedAt":1795493175670}');
INSERT INTO job VALUES(2,X'01a20bbba17a771caf9fc2905259c2a7',2,3,2,NULL,3,1795493175674,NULL,0.0,X'8124020401',0,NULL,'{"abort":{"reason":"enough","by":"token bootstrap","at":1795493175676}}');
INSERT INTO job VALUES(3,X'01a20bbba17e77e296ce928c1bf22c63',3,4,2,NULL,4,NULL,1795493175680,1.0,X'0102',0,NULL,'{"output":[1,2]}');
INSERT INTO job VALUES(4,X'01a20bbba18270dea67ccef84c512187',4,5,2,NULL,5,NULL,1795493175690,0.0,X'81100301',0,'no rows','{"lastMessage":{"level":"error","text":"no rows"},"lastError":"no rows"}');
INSERT INTO job VALUES(5,X'01a20bbba18e749fbe67a6341b68e51b',5,6,2,NULL,5,NULL,1795493175701,0.0,X'83b21d03020e01010201010b',0,'Job force-failed: stuck for an hour',NULL);
INSERT INTO job VALUES(6,X'01a20bbba1aa70f3949c8c8faea95271',6,7,2,NULL,6,NULL,1795493175731,0.0,X'81200301',0,NULL,'{"abort":{"reason":"not needed","by":"token bootstrap","at":1795493175726}}');
CREATE TABLE ownerless (
    job integer primary key
);
CREATE TABLE event (
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
INSERT INTO event VALUES(1,1,1795493175660,3,'Started by token bootstrap',NULL,'{"source":{"actor":{"kind":"token","name":"bootstrap"}},"kind":{"type":"created","spec":{"feature":"import","author":"bootstrap","owner":"token:bootstrap","title":"Import of the night","tags":["night"],"input":{"rows":5},"timeouts":{"run":null,"activity":null},"execution":"external","max_attempts":1,"queue":"default","priority":0},"status":"running"}}');
INSERT INTO event VALUES(1,2,1795493175663,3,'3 steps declared',NULL,'{"source":"run","kind":{"type":"steps_declared","steps":[{"id":"load","weight":0.5},{"id":"store","steps":[{"id":"rows"}]}],"grew":false}}');
INSERT INTO event VALUES(1,3,1795493175663,3,'load done',NULL,'{"source":"run","kind":{"type":"progress","step":0,"label":"load","value":1.0,"started":true,"ended":true}}');
INSERT INTO event VALUES(1,4,1795493175670,3,'store › rows started',NULL,'{"source":"run","kind":{"type":"progress","step":2,"label":"store › rows","value":0.25,"started":true,"ended":false}}');
INSERT INTO event VALUES(1,5,1795493175672,0,'half-way',NULL,'1');
INSERT INTO event VALUES(1,6,1795493175672,1,'it''s slow ü',NULL,'2');
INSERT INTO event VALUES(2,1,1795493175674,3,'Started by token bootstrap',NULL,'{"source":{"actor":{"kind":"token","name":"bootstrap"}},"kind":{"type":"created","spec":{"feature":"aborting","author":"bootstrap","owner":"token:bootstrap","timeouts":{"run":null,"activity":null},"execution":"external","max_attempts":1,"queue":"default","priority":0},"status":"running"}}');
INSERT INTO event VALUES(2,2,1795493175676,4,'token bootstrap asked it to stop: enough',NULL,'{"source":{"actor":{"kind":"token","name":"bootstrap"}},"kind":{"type":"abort_requested","reason":"enough","before":"running"}}');
INSERT INTO event VALUES(3,1,1795493175678,3,'Started by token bootstrap',NULL,'{"source":{"actor":{"kind":"token","name":"bootstrap"}},"kind":{"type":"created","spec":{"feature":"export","author":"bootstrap","owner":"token:bootstrap","timeouts":{"run":{"secs":1800,"nanos":0},"activity":{"secs":600,"nanos":0}},"execution":"external","max_attempts":1,"queue":"default","priority":0},"status":"running"}}');
INSERT INTO event VALUES(3,2,1795493175680,3,'Completed',NULL,'{"source":"run","kind":{"type":"completed","output":[1,2],"after_abort":false}}');
INSERT INTO event VALUES(4,1,1795493175682,3,'Started by token bootstrap',NULL,'{"source":{"actor":{"kind":"token","name":"bootstrap"}},"kind":{"type":"created","spec":{"feature":"broken","author":"bootstrap","owner":"token:bootstrap","timeouts":{"run":{"secs":1800,"nanos":0},"activity":{"secs":600,"nanos":0}},"execution":"external","max_attempts":1,"queue":"default","priority":0},"status":"running"}}');
INSERT INTO event VALUES(4,2,1795493175685,2,'no rows',NULL,NULL);
INSERT INTO event VALUES(4,3,1795493175690,3,'Failed',NULL,'{"source":"run","kind":{"type":"failed","cause":"reported","error":"no rows","repeated":true,"next":"failed"}}');
INSERT INTO event VALUES(5,1,1795493175694,3,'Started by token bootstrap',NULL,'{"source":{"actor":{"kind":"token","name":"bootstrap"}},"kind":{"type":"created","spec":{"feature":"hung","author":"bootstrap","owner":"token:bootstrap","timeouts":{"run":{"secs":1800,"nanos":0},"activity":{"secs":600,"nanos":0}},"execution":"external","max_attempts":1,"queue":"default","priority":0},"status":"running"}}');
INSERT INTO event VALUES(5,2,1795493175701,4,'token bootstrap force-failed it: stuck for an hour',NULL,'{"source":{"actor":{"kind":"token","name":"bootstrap"}},"kind":{"type":"force_failed","reason":"stuck for an hour","before":"running"}}');
INSERT INTO event VALUES(5,3,1795493175701,2,'Job force-failed: stuck for an hour',NULL,'{"source":{"actor":{"kind":"token","name":"bootstrap"}},"kind":{"type":"failed","cause":"force_failed","error":"Job force-failed: stuck for an hour","repeated":false,"next":"failed"}}');
INSERT INTO event VALUES(6,1,1795493175722,3,'Started by token bootstrap',NULL,'{"source":{"actor":{"kind":"token","name":"bootstrap"}},"kind":{"type":"created","spec":{"feature":"stopped","author":"bootstrap","owner":"token:bootstrap","timeouts":{"run":{"secs":1800,"nanos":0},"activity":{"secs":600,"nanos":0}},"execution":"external","max_attempts":1,"queue":"default","priority":0},"status":"running"}}');
INSERT INTO event VALUES(6,2,1795493175726,4,'token bootstrap asked it to stop: not needed',NULL,'{"source":{"actor":{"kind":"token","name":"bootstrap"}},"kind":{"type":"abort_requested","reason":"not needed","before":"running"}}');
INSERT INTO event VALUES(6,3,1795493175731,3,'Stopped on request',NULL,'{"source":"run","kind":{"type":"aborted"}}');
CREATE TABLE step (
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
INSERT INTO step VALUES(1,0,NULL,'load',NULL,0.5,1.0,1795493175663,1795493175663);
INSERT INTO step VALUES(1,1,NULL,'store',NULL,1.0,0.25,1795493175670,NULL);
INSERT INTO step VALUES(1,2,1,'rows',NULL,1.0,0.25,1795493175670,NULL);
CREATE TABLE counter (
    feature text not null,
    status integer not null,
    n integer not null,
    primary key (feature, status)
) without rowid;
INSERT INTO counter VALUES('aborting',3,1);
INSERT INTO counter VALUES('broken',5,1);
INSERT INTO counter VALUES('export',4,1);
INSERT INTO counter VALUES('hung',5,1);
INSERT INTO counter VALUES('import',2,1);
INSERT INTO counter VALUES('stopped',6,1);
CREATE TABLE ended (
    day integer not null,
    status integer not null,
    n integer not null,
    primary key (day, status)
) without rowid;
INSERT INTO ended VALUES(20781,4,1);
INSERT INTO ended VALUES(20781,5,2);
INSERT INTO ended VALUES(20781,6,1);
CREATE TABLE idempotency (
    key text primary key,
    fingerprint text not null,
    job blob not null,
    at integer not null
) without rowid;
CREATE TABLE account (
    name text primary key,
    role text not null,
    password text,
    created_at integer not null
) without rowid;
INSERT INTO account VALUES('admin','admin',NULL,1795493165041);
CREATE TABLE session (
    hash blob primary key,
    account text not null,
    created_at integer not null,
    expires_at integer not null
) without rowid;
CREATE TABLE token (
    name text primary key,
    hash blob not null unique,
    role text not null,
    act_as integer not null,
    created_at integer not null,
    expires_at integer
) without rowid;
INSERT INTO token VALUES('bootstrap',X'ef50be23fef532cf9fcbf52260127e5c0b66dc3620206701daad042a6bb370f2','admin',1,1795493165037,NULL);
CREATE TABLE sign_in_link (
    hash blob primary key,
    account text not null,
    expires_at integer not null
) without rowid;
INSERT INTO sign_in_link VALUES(X'2225ece5d4278a2b50f0a1fe4bfb1599d182bea4e69c34169253c947dac2ed5a','admin',1795579565044);
CREATE TABLE clock (
    one integer primary key check (one = 1),
    believed integer not null,
    -- 1 while a server runs by a clock that nobody believes.
    doubted integer not null
);
CREATE TABLE probe (
    one integer primary key check (one = 1),
    at integer not null
);
DELETE FROM sqlite_sequence;
INSERT INTO sqlite_sequence VALUES('job',6);
CREATE INDEX job_id on job (substr(id, 1, 8));
CREATE INDEX job_open on job (created_at) where ended_at is null;
CREATE INDEX job_past on job (ended_at) where ended_at is not null;
CREATE INDEX job_past_feature on job (feature * 8 + status, ended_at) where ended_at is not null;
CREATE INDEX job_past_author on job (author * 8 + status, ended_at) where ended_at is not null;
CREATE INDEX job_past_status on job (status, ended_at) where status > 4;
CREATE INDEX job_pinned on job (n) where pinned = 1;
CREATE INDEX event_kind on event (job, kind, seq) where kind <> 0;
CREATE INDEX idempotency_at on idempotency (at);
COMMIT;
