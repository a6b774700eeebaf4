import type { App, Receiver } from '@slack/bolt'
import { AppError, type Clock, type Log, type Secret } from '../core/index.ts'
import type { HttpServer } from '../http/index.ts'
import { signatureProblem } from './signature.ts'

const problems = {
  missing: 'the request carries no Slack signature',
  stale: 'the request is older than five minutes; is this server’s clock right?',
  wrong: 'the Slack signature does not match; is SLACK_SIGNING_SECRET the one of this app?',
}

/**
 * Bolt's way in over HTTP: one route for commands, events and buttons. The answer goes out only when the
 * listeners are done, that is when the work is in the database: until then Slack must try again.
 */
export function createHttpReceiver(options: {
  signingSecret: Secret
  clock: Clock
  log: Log
}): Receiver & { register(server: HttpServer): void } {
  let app: App | undefined

  const take = async (body: Record<string, unknown>, headers: Headers): Promise<unknown> => {
    let answer: unknown
    const retryNum = Number(headers['x-slack-retry-num'])
    await app?.processEvent({
      body,
      ack: async (response?: unknown) => {
        answer ??= response
      },
      ...(Number.isInteger(retryNum) ? { retryNum } : {}),
    })
    return answer
  }

  const route = async (scope: HttpServer) => {
    // The signature covers the bytes as they came, so nothing may parse them before it is checked.
    scope.removeAllContentTypeParsers()
    scope.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body))
    scope.post('/slack/events', async (request, reply) => {
      const bytes = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0)
      const header = (name: string) => {
        const value = request.headers[name]
        return typeof value === 'string' ? value : undefined
      }
      const problem = signatureProblem({
        signingSecret: options.signingSecret,
        timestamp: header('x-slack-request-timestamp'),
        signature: header('x-slack-signature'),
        body: bytes,
        nowMs: options.clock.now(),
      })
      if (problem !== undefined) {
        options.log.warn({ problem, address: request.ip }, 'slack request refused')
        throw new AppError('unauthenticated', problems[problem])
      }
      const body = readBody(header('content-type') ?? '', bytes)
      if (body['type'] === 'url_verification') return { challenge: body['challenge'] }
      if (body['ssl_check'] !== undefined) return reply.status(200).send('')
      const answer = await take(body, request.headers)
      return reply.status(200).send(answer ?? '')
    })
  }

  return {
    init(bolt) {
      app = bolt
    },
    start: async () => undefined,
    stop: async () => undefined,
    register(server) {
      void server.register(route)
    },
  }
}

type Headers = Record<string, string | string[] | undefined>

/** The body Slack sent: JSON for events, a form for commands, a form with JSON in `payload` for buttons. */
function readBody(contentType: string, bytes: Buffer): Record<string, unknown> {
  const text = bytes.toString('utf8')
  if (contentType.startsWith('application/x-www-form-urlencoded')) {
    const form = Object.fromEntries(new URLSearchParams(text))
    return form['payload'] === undefined ? form : readJson(form['payload'])
  }
  return readJson(text)
}

function readJson(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text)
    if (value !== null && typeof value === 'object' && !Array.isArray(value)) return { ...value }
  } catch {
    // Said below: what came is not repeated, it may hold anything.
  }
  throw new AppError('invalid_input', 'the body is neither a JSON object nor a form as Slack sends it')
}
