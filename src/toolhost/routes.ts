import type { IncomingMessage, ServerResponse } from 'node:http'
import { AppError } from '../core/index.ts'
import {
  type CallFrame,
  type CallRequest,
  callRequest,
  type Health,
  type SourceLaunch,
  sourceLaunch,
  type ToolhostSettings,
} from '../wire/index.ts'
import type { Calls } from './calls.ts'
import type { ProbeVerdict } from './probe.ts'
import { readBody } from './read-body.ts'
import { Refused, sendJson } from './refusal.ts'
import type { Source } from './source.ts'
import type { Sources } from './sources.ts'

export interface RouteOptions {
  settings: ToolhostSettings
  sources: Sources
  calls: Calls
  /** The boot probe's verdict; requests that would run something wait for it. */
  probe: Promise<ProbeVerdict>
  draining: () => boolean
  /** Begins to drain; called once the answer has been sent. */
  drain: () => void
}

type Route = (request: IncomingMessage, response: ServerResponse) => Promise<void>

/** Made once: an abort without a reason makes an error with a stack each time. */
const closed = new Error('the answer was closed')
const launchBytes = 256 * 1024
/** How long `accepted` may wait for what comes right after it. */
const togetherMs = 2

/** The protocol's requests, by method and path. Throws `Refused` or an AppError before anything has run. */
export function createRoutes(options: RouteOptions): Route {
  const { settings, sources, calls } = options

  return async (request, response) => {
    if (request.method === 'POST' && request.url === '/calls') return call(request, response)
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://toolhost')
    const [room, id, rest] = pathname.slice(1).split('/')
    const what = rest === undefined ? `${request.method} /${room}${id === undefined ? '' : '/:id'}` : ''
    switch (what) {
      case 'DELETE /calls/:id':
        return cancel(decode(id), response)
      case 'GET /health':
        return sendJson(response, 200, await describeHealth())
      case 'PUT /sources/:id':
        return put(decode(id), request, response)
      case 'GET /sources/:id':
        return sendJson(response, 200, findSource(decode(id)).state({ stderr: true }))
      case 'GET /tools':
        return list(searchParams.get('source') ?? '', response)
      case 'DELETE /':
        sendJson(response, 202, { draining: true })
        return options.drain()
      default:
        throw new Refused(404, 'not_found', 'the toolhost serves nothing there')
    }
  }

  async function describeHealth(): Promise<Health> {
    const verdict = await options.probe
    return {
      sandboxUid: settings.sandboxUid,
      generation: settings.generation,
      egress: verdict.egress,
      ...(verdict.egress === 'open' && { leak: verdict.leak }),
      sources: sources.list().map((source) => {
        const { id, state } = source.state()
        return { id, state }
      }),
      running: calls.running,
      queued: calls.queued,
    }
  }

  async function put(id: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const launch: SourceLaunch = parse(sourceLaunch, await readBody(request, launchBytes))
    if (launch.id !== id)
      throw new Refused(400, 'invalid', `the path names source "${id}" and the body source "${launch.id}"`)
    await refuseUnlessOpen()
    sendJson(response, 200, sources.put(launch).state())
  }

  async function list(id: string, response: ServerResponse): Promise<void> {
    await refuseUnlessOpen()
    const session = await findSource(id).session()
    sendJson(response, 200, { tools: await session.listTools() })
  }

  async function call(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const gone = new AbortController()
    // The gateway closing the answer is a cancellation, at whatever point it comes.
    response.once('close', () => gone.abort(closed))
    const body: CallRequest = parse(callRequest, await readBody(request, settings.limits.requestBytes))
    await refuseUnlessOpen()
    const source = findSource(body.sourceId)
    await calls.run(body, source, gone.signal, frameWriter(response))
  }

  async function cancel(callId: string, response: ServerResponse): Promise<void> {
    const ended = calls.cancel(callId)
    if (ended === undefined) throw new Refused(404, 'not_found', `no call ${callId} runs or waits here`)
    sendJson(response, 200, await ended)
  }

  async function refuseUnlessOpen(): Promise<void> {
    const verdict = await options.probe
    if (verdict.egress === 'open')
      throw new AppError(
        'egress_not_enforced',
        `the sandbox is not cut off: ${verdict.leak} answered directly`,
      )
    if (options.draining()) throw new Refused(503, 'draining', 'the sandbox is stopping')
  }

  function findSource(id: string): Source {
    const source = sources.find(id)
    if (source === undefined)
      throw new Refused(404, 'unknown_source', `source "${id}" was not put into this sandbox yet`)
    return source
  }
}

/**
 * Writes the frames of one call. Those of a quick call leave together: one packet, and one wake-up of the gateway
 * instead of two. A gateway that loses this toolhost before them takes the call for `unknown`, as it does after.
 */
function frameWriter(response: ServerResponse): (frame: CallFrame) => void {
  let held = ''
  let timer: NodeJS.Timeout | undefined
  return (frame) => {
    if (!response.headersSent) response.writeHead(200, { 'content-type': 'application/x-ndjson' })
    const lines = `${held}${JSON.stringify(frame)}\n`
    clearTimeout(timer)
    held = ''
    if (frame.type === 'accepted') {
      held = lines
      timer = setTimeout(() => {
        response.write(held)
        held = ''
      }, togetherMs)
    } else if (frame.type !== 'progress') response.end(lines)
    // Progress is a hint: a gateway that reads slowly misses some rather than have them pile up here.
    else if (!response.writableNeedDrain) response.write(lines)
  }
}

function parse<T>(
  shape: { safeParse(value: unknown): { success: true; data: T } | { success: false } },
  text: string,
): T {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new AppError('invalid_input', 'the body is not JSON', { cause: error })
  }
  const parsed = shape.safeParse(value)
  if (!parsed.success) throw new AppError('invalid_input', 'the body does not have the shape of this request')
  return parsed.data
}

function decode(id: string | undefined): string {
  try {
    return decodeURIComponent(id ?? '')
  } catch {
    throw new Refused(400, 'invalid', 'the id in the path is not percent-encoded text')
  }
}
