// The life of a job, in the types that openapi-typescript makes: it only has to compile.

import type { components, operations, paths } from './types';

type Schemas = components['schemas'];
type Json<Answer> = Answer extends { content: { 'application/json': infer Body } } ? Body : never;

const start: Schemas['StartBody'] = { feature: 'import', tags: ['night'], timeout: 0 };
const steps: Schemas['ProgressBody'] = { steps: [{ id: 'load' }, { id: 'save', weight: 8 }], epoch: 1 };
const number: Schemas['ProgressBody'] = { step: 'load', progress: 0.5 };
const message: Schemas['MessagesBody'] = [{ type: 'warning', message: '12 rows skipped' }];
// @ts-expect-error: a start must say what it starts
const nothing: Schemas['StartBody'] = {};
// @ts-expect-error: there is no such level
const loud: Schemas['MessageBody'] = { type: 'loud', message: 'x' };

const started = (answer: Json<operations['startJob']['responses'][201]>): string => `${answer.jobId} ${answer.epoch}`;
const ended = (job: Schemas['JobDto']): boolean => job.status === 'completed' && job.progress === 1;
const refused = (answer: Json<operations['completeJob']['responses'][409]>): string => answer.code;
const list: paths['/api/admin/jobs']['get']['parameters']['query'] = { includePast: true, limit: 200 };

export { ended, list, loud, message, nothing, number, refused, start, started, steps };
