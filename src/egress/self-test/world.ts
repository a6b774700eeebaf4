import { once } from 'node:events'
import type { Server } from 'node:http'
import { createServer as createHttps } from 'node:https'
import { connect as connectTcp } from 'node:net'
import { text } from 'node:stream/consumers'
import { connect as connectTls } from 'node:tls'
import { sourceSpec } from '../../catalog/index.ts'
import { newId, silentLog } from '../../core/index.ts'
import type { assemble } from '../assemble.ts'
import { createGuard, systemResolve } from '../decision/guard.ts'
import type { Leaves } from '../keys/certificates.ts'
import { fromMachine } from '../traffic/caller.ts'
import { closeServer, listenTcp } from '../traffic/listening.ts'
import { defaultLimits } from '../types.ts'
import { createConnect, createTrust } from '../upstream/connection.ts'
import { systemDial } from '../upstream/dial.ts'
import { countsNothing, oneCredential, oneLease, wordsOnly } from './parts.ts'

const sourceId = 'self-test'
const loopback = '127.0.0.1'

interface Place extends AsyncDisposable {
  port: number
}

async function listening(server: Server): Promise<Place> {
  const { port } = await listenTcp(server, loopback, 0)
  return { port, [Symbol.asyncDispose]: async () => await closeServer(server) }
}

/** An upstream for `hosts` that says which credentials it was shown: to `seen`, and in the header and body of its answer. */
export async function startUpstream({
  leaves,
  hosts,
  seen,
}: {
  leaves: Leaves
  hosts: string[]
  seen: string[]
}): Promise<Place> {
  const server = createHttps(
    {
      SNICallback(name, done) {
        leaves.contextFor(name, hosts).then((context) => done(null, context), done)
      },
    },
    (request, response) => {
      const shown = request.headers.authorization ?? ''
      seen.push(shown)
      response.setHeader('x-shown', shown)
      response.end(JSON.stringify({ shown }))
    },
  )
  return await listening(server)
}

/** A proxy that `build` puts together: it has one source, whose rules inject `key` at `hosts`, and knows nothing else. */
export async function startProxy(
  build: typeof assemble,
  options: {
    leaves: Leaves
    ca: string
    hosts: string[]
    /** The upstream's. */
    port: number
    key: string
    /** What it records, in a word each. */
    written: string[]
  },
): Promise<AsyncDisposable & { ask: (host: string) => Promise<string> }> {
  const { leaves, hosts, ca, key, written } = options
  const lease = newId('lse')
  const { egress: rules } = sourceSpec.parse({
    kind: 'stdio',
    command: 'none',
    egress: hosts.map((host) => ({
      host,
      port: options.port,
      methods: ['GET'],
      paths: ['/v1'],
      address: loopback,
      inject: [{ credential: 'SELF_TEST', into: 'header:authorization', format: 'Bearer {value}' }],
    })),
  })
  const book = {
    version: 0,
    rules: new Map([[sourceId, rules]]),
    minted: new Map(),
    warnUntil: new Map(),
    hosts,
  }
  await using stack = new AsyncDisposableStack()
  const {
    front,
    live,
    upstream: connections,
  } = build({
    leases: oneLease(lease, sourceId),
    rulesAt: () => book,
    credentials: oneCredential(key),
    guard: createGuard({
      resolve: systemResolve,
      listening: () => [],
      refusedRanges: [],
      timeoutMs: defaultLimits.dialTimeoutMs,
      lookUps: { perPrincipal: 0, total: 0 },
      log: silentLog,
    }),
    leaves,
    connect: createConnect({
      dial: systemDial,
      trust: createTrust({ trustedCas: [ca], systemRoots: false }),
      dialTimeoutMs: defaultLimits.dialTimeoutMs,
    }),
    recorder: wordsOnly(written),
    metrics: countsNothing,
    tell: async () => undefined,
    limits: defaultLimits,
    elapsed: () => performance.now(),
    now: Date.now,
    log: silentLog,
  })
  stack.defer(() => connections.close())
  stack.defer(() => front.close())
  const { port } = stack.use(await listening(front.makeOuter(fromMachine)))
  stack.defer(() => live.close())
  const authorization = `Basic ${Buffer.from(`${sourceId}:${lease}`).toString('base64')}`
  const resources = stack.move()
  return {
    ask: (host) => askTwice({ port, authorization, ca, host, to: options.port }),
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  }
}

/** Two requests in one tunnel and all that comes back, or the refusal of the tunnel. */
async function askTwice(options: {
  /** The proxy's. */
  port: number
  authorization: string
  ca: string
  host: string
  to: number
}): Promise<string> {
  const authority = `${options.host}:${options.to}`
  const socket = connectTcp(options.port, loopback)
  socket.write(
    `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\nProxy-Authorization: ${options.authorization}\r\n\r\n`,
  )
  const [bytes] = (await once(socket, 'data')) as [Buffer]
  const answer = bytes.toString('latin1')
  if (!answer.startsWith('HTTP/1.1 200 ')) {
    socket.destroy()
    return answer
  }
  const secured = connectTls({ socket, servername: options.host, ca: options.ca })
  const request = `GET /v1/x HTTP/1.1\r\nHost: ${authority}\r\nAuthorization: Bearer of-the-caller\r\n`
  secured.write(`${request}\r\n${request}Connection: close\r\n\r\n`)
  return await text(secured)
}
