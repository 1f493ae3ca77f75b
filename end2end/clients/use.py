"""The life of a job, by the client that openapi-python-client made: use.py CLIENT ADDRESS TOKEN"""

import sys
from uuid import uuid4

folder, address, token = sys.argv[1:]
sys.path.insert(0, folder)

from longhaul_client import AuthenticatedClient  # noqa: E402
from longhaul_client.api.jobs import get_job, list_jobs, list_messages, start_job  # noqa: E402
from longhaul_client.api.reporting import add_messages, complete_job, heartbeat, report_progress  # noqa: E402
from longhaul_client.models import (  # noqa: E402
    CompleteBody,
    ErrorBody,
    Level,
    MessageBody,
    NumberBody,
    StartBody,
    Status,
    StepBody,
    StepsBody,
)

client = AuthenticatedClient(base_url=address, token=token, raise_on_unexpected_status=True)

started = start_job.sync(client=client, body=StartBody(feature="import", title="Import of the night", tags=["night"]))
job, epoch = started.job_id, started.epoch
steps = [StepBody(id="load"), StepBody(id="save", weight=3.0, steps=[StepBody(id="index")])]
assert report_progress.sync(job, client=client, body=StepsBody(steps=steps, epoch=epoch)).progress == 0
number = NumberBody(step="load", progress=1.0, epoch=epoch)
assert report_progress.sync(job, client=client, body=number).progress == 0.25
one = add_messages.sync(job, client=client, body=MessageBody(type_=Level.INFO, message="12 of 40 rows", step="load"))
several = [MessageBody(type_=Level.WARNING, message=f"row {row} skipped", epoch=epoch) for row in range(3)]
assert add_messages.sync(job, client=client, body=several).seq > one.seq
heard = heartbeat.sync(job, client=client)
assert (heard.status, heard.abort_requested) == (Status.RUNNING, False)

output = {"rows": 40}
assert complete_job.sync(job, client=client, body=CompleteBody(output=output, epoch=epoch)).status == Status.COMPLETED

seen = get_job.sync(job, client=client)
assert (seen.status, seen.progress, seen.output, seen.tags) == (Status.COMPLETED, 1.0, output, ["night"])
assert [step.id for step in seen.steps] == ["load", "save"]
assert [message.message for message in seen.warning_messages] == ["row 0 skipped", "row 1 skipped", "row 2 skipped"]
log = list_messages.sync(job, client=client, level="info,warning", limit=2)
assert (len(log.messages), log.total) == (2, 4) and log.next_after
listed = list_jobs.sync(client=client, include_past=True, status=Status.COMPLETED)
assert [found.id for found in listed.jobs] == [job]

# What is refused comes as described, too.
refused = complete_job.sync_detailed(job, client=client)
assert refused.status_code == 409 and refused.parsed.code == "job_finished", refused
missing = get_job.sync(uuid4(), client=client)
assert isinstance(missing, ErrorBody) and missing.code == "job_not_found", missing
