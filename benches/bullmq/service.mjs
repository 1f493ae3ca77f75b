// The same four calls as Longhaul's, over BullMQ: start a job, report progress, add a line to its log,
// complete it. Written as its documentation does it: one queue, one worker that fetches by hand (manual
// processing, because an external program does the work), node's own HTTP server with kept-alive
// connections, a bearer token compared on each request.
import http from 'node:http'
import { randomUUID } from 'node:crypto'
import { Queue, Worker } from 'bullmq'

const connection = { host: '127.0.0.1', port: Number(process.env.REDIS_PORT), maxRetriesPerRequest: null }
const queue = new Queue('jobs', { connection })
const worker = new Worker('jobs', null, { connection, lockDuration: 600_000, autorun: false })
await queue.waitUntilReady()
await worker.waitUntilReady()

const active = new Map()
const wanted = `Bearer ${process.env.TOKEN}`

async function body(request) {
  const parts = []
  for await (const part of request) parts.push(part)
  return JSON.parse(Buffer.concat(parts).toString() || '{}')
}

async function handle(request) {
  if (request.headers.authorization !== wanted) return [401, { code: 'unauthorized' }]
  if (request.url === '/readyz') return [200, {}]
  const path = request.url.split('/').slice(4)
  const data = await body(request)
  if (path[0] === 'start') {
    await queue.add(data.feature, data)
    const token = randomUUID()
    const job = await worker.getNextJob(token, { block: false })
    if (!job) return [503, { code: 'nothing_to_fetch' }]
    active.set(job.id, { job, token })
    return [201, { jobId: job.id }]
  }
  const [id, what] = path
  const found = active.get(id)
  if (!found) return [404, { code: 'not_found' }]
  if (what === 'progress') await found.job.updateProgress(data.progress)
  else if (what === 'message') await found.job.log(data.message)
  else if (what === 'complete') {
    await found.job.moveToCompleted(data.output ?? null, found.token, false)
    active.delete(id)
  } else return [404, { code: 'not_found' }]
  return [200, { ok: true }]
}

const server = http.createServer((request, response) => {
  handle(request)
    .catch((error) => [500, { code: 'failed', message: String(error) }])
    .then(([status, answer]) => {
      const text = JSON.stringify(answer)
      response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) })
      response.end(text)
    })
})
server.keepAliveTimeout = 60_000
server.listen(Number(process.env.PORT), '127.0.0.1')
