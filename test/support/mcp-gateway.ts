import type { AddressInfo } from 'node:net'
import type { Caller } from '../../src/access/index.ts'
import type { Calls } from '../../src/calls/index.ts'
import {
  AppError,
  type ErrorCode,
  type Log,
  type PrincipalId,
  silentLog,
  type TokenId,
} from '../../src/core/index.ts'
import { createHttpServer } from '../../src/http/index.ts'
import { type McpOptions, mcpDefaults, registerMcp } from '../../src/mcp/index.ts'
import type { Notice } from '../../src/store/index.ts'

/*
 * The real HTTP server with the real endpoint on a loopback port. Where it lies: tokens are words of this file
 * instead of hashes in a table (`alice`, `bob`, and words that are refused), and what replicas tell each other
 * goes through an array instead of PostgreSQL.
 */

const day = 24 * 60 * 60 * 1000

function caller(name: string, toolkit: string | null): Caller {
  return {
    principalId: `prn_${name}` as PrincipalId,
    principalName: name,
    tokenId: `tok_${name}_${toolkit ?? ''}` as TokenId,
    toolkit,
    expiresAt: new Date(Date.now() + day),
    catalogVersion: 1,
  }
}

/** Tokens that open something, by their text. */
export const tokens = {
  alice: caller('alice', null),
  bob: caller('bob', null),
  aliceOps: caller('alice', 'ops'),
  aliceGone: caller('alice', 'gone'),
}

/** Token texts that are refused with the code after the hyphen. */
export const refusals: Record<string, ErrorCode> = {
  'bad-malformed': 'token_malformed',
  'bad-unknown': 'token_unknown',
  'bad-expired': 'token_expired',
  'bad-revoked': 'token_revoked',
  'bad-deactivated': 'principal_deactivated',
  'bad-limited': 'rate_limited',
  'bad-database': 'unavailable',
}

export interface Network {
  handlers: Set<(notice: Notice) => void>
  sent: Notice[]
}

export const network = (): Network => ({ handlers: new Set(), sent: [] })

export interface Gateway {
  url: string
  port: number
  network: Network
  /** What `access.verify` was told of each request. */
  seen: { address: string; client: string | null }[]
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/** Starts the endpoint over `calls`; two gateways with one `network` are two replicas. */
export async function startGateway(
  calls: Calls,
  options: Partial<McpOptions> & { port?: number; net?: Network; log?: Log } = {},
): Promise<Gateway> {
  const { port = 0, net = network(), log = silentLog, ...overrides } = options
  const server = createHttpServer({
    log,
    bodyLimit: 1024 * 1024,
    requestTimeoutMs: 30_000,
    trustedProxies: [],
    ready: () => Promise.resolve(),
  })
  const own = new Set<(notice: Notice) => void>()
  const seen: Gateway['seen'] = []
  registerMcp(server, {
    calls,
    log,
    access: {
      recall: () => undefined,
      verify(bearer, from) {
        seen.push(from)
        const known = (tokens as Record<string, Caller>)[bearer]
        if (known !== undefined) return Promise.resolve(known)
        if (bearer === 'bad-crash') return Promise.reject(new Error('connect ECONNREFUSED 10.1.2.3:5432'))
        const code = refusals[bearer] ?? 'token_malformed'
        return Promise.reject(new AppError(code, `Your token is not good: ${code}.`))
      },
    },
    options: {
      ...mcpDefaults,
      version: '0.0.0-test',
      labelKey: Buffer.alloc(32, 7),
      allowedHosts: [],
      allowedOrigins: [],
      ...overrides,
    },
    notices: {
      on(handle) {
        own.add(handle)
        net.handlers.add(handle)
        return () => {
          own.delete(handle)
          net.handlers.delete(handle)
        }
      },
    },
    notify(notice) {
      net.sent.push(notice)
      for (const handle of net.handlers) if (!own.has(handle)) handle(notice)
      return Promise.resolve()
    },
  })
  await server.listen({ host: '127.0.0.1', port })
  const address = server.server.address() as AddressInfo
  const close = async () => {
    server.server.closeAllConnections()
    await server.close()
  }
  return {
    url: `http://127.0.0.1:${address.port}/mcp`,
    port: address.port,
    network: net,
    seen,
    close,
    [Symbol.asyncDispose]: close,
  }
}
