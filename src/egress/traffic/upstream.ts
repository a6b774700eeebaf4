import { Agent, type ClientRequest, type IncomingMessage, type RequestOptions, request } from 'node:http'
import { connect as connectTcp, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { connect as connectTls, createSecureContext, getCACertificates, type SecureContext } from 'node:tls'
import type { DenialReason } from '../decision/denial.ts'
import { formatAuthority } from '../request/host.ts'
import type { Tuple } from '../request/tuple.ts'

/** Opens a TCP connection to exactly this address; rejects within `timeoutMs`. */
export type Dial = (to: { address: string; port: number; timeoutMs: number }) => Promise<Socket>

export const systemDial: Dial = ({ address, port, timeoutMs }) =>
  new Promise((resolve, reject) => {
    const socket = connectTcp({ host: address, port, noDelay: true, timeout: timeoutMs })
    const fail = (error: Error) => {
      socket.destroy()
      reject(error)
    }
    socket.once('error', fail)
    socket.once('timeout', () => fail(new Error('connecting took too long')))
    socket.once('connect', () => {
      socket.setTimeout(0)
      socket.removeListener('error', fail)
      resolve(socket)
    })
  })

/** A request that may go out: every part of it decided already. */
export interface Outgoing {
  tuple: Tuple
  /** Judged addresses; only these are dialled, in order. */
  addresses: string[]
  headers: string[]
  /** Requests with equal keys may share a kept connection; it names principal, source, rule and its version. */
  poolKey: string
}

/** The failure's code for the one who asked; its cause is for the log. */
export class UpstreamError extends Error {
  override readonly name = 'UpstreamError'
  readonly reason: Extract<DenialReason, `upstream_${string}`>

  constructor(reason: UpstreamError['reason'], cause: unknown) {
    super(reason, { cause })
    this.reason = reason
  }
}

export interface Upstream {
  /** Starts the request; its body is the caller's to write. Errors come as `error` events, see `upstreamFailure`. */
  open(outgoing: Outgoing): ClientRequest
  /** Closes every idle connection, so that none outlives a change of rules. */
  drop(): void
  close(): void
}

/** One trust store, built once: the system's roots and the operator's. Building it costs milliseconds. */
export function trustContext(options: { trustedCas: string[]; systemRoots: boolean }): SecureContext {
  const system = options.systemRoots ? [...getCACertificates('bundled'), ...getCACertificates('system')] : []
  return createSecureContext({ ca: [...new Set([...system, ...options.trustedCas])], minVersion: 'TLSv1.2' })
}

export function createUpstream(options: {
  dial: Dial
  trust: SecureContext
  dialTimeoutMs: number
  idleTimeoutMs: number
  maxHeaderSize: number
}): Upstream {
  const agent = new PinnedAgent(options)
  return {
    open({ tuple, addresses, headers, poolKey }) {
      const settings: RequestOptions & PinnedOptions = {
        agent,
        method: tuple.method,
        host: tuple.host,
        port: tuple.port,
        path: tuple.path + tuple.query,
        headers,
        maxHeaderSize: options.maxHeaderSize,
        timeout: options.idleTimeoutMs,
        pinned: { secure: tuple.scheme === 'https', host: tuple.host, port: tuple.port, addresses, poolKey },
      }
      return request(settings)
    },
    drop: () => agent.dropIdle(),
    close: () => agent.destroy(),
  }
}

interface PinnedOptions {
  pinned: { secure: boolean; host: string; port: number; addresses: string[]; poolKey: string }
}

/** Dials what it is told and nothing else: no look-up, no proxy, no other port. */
class PinnedAgent extends Agent {
  readonly #dial: Dial
  readonly #trust: SecureContext
  readonly #timeoutMs: number

  constructor(options: { dial: Dial; trust: SecureContext; dialTimeoutMs: number }) {
    // Shorter than the 5 s after which most servers close an idle connection, so that none is reused as it dies.
    super({ keepAlive: true, timeout: 4_000, maxFreeSockets: 64, scheduling: 'lifo' })
    this.#dial = options.dial
    this.#trust = options.trust
    this.#timeoutMs = options.dialTimeoutMs
  }

  override getName(options?: object): string {
    const { secure, host, port, addresses, poolKey } = (options as PinnedOptions).pinned
    return JSON.stringify([secure, host, port, [...addresses].sort(), poolKey])
  }

  override createConnection(
    options: object,
    callback?: (error: Error | null, stream: Duplex) => void,
  ): undefined {
    this.#connect((options as PinnedOptions).pinned).then(
      (socket) => callback?.(null, socket),
      // The types want a stream beside the error; the caller looks at the error first.
      (error: unknown) => callback?.(error as Error, undefined as unknown as Duplex),
    )
    return undefined
  }

  dropIdle(): void {
    for (const sockets of Object.values(this.freeSockets))
      for (const socket of sockets ?? []) socket.destroy()
  }

  async #connect({ secure, host, port, addresses }: PinnedOptions['pinned']): Promise<Duplex> {
    let failure: unknown
    for (const address of addresses.slice(0, 4)) {
      try {
        const socket = await this.#dial({ address, port, timeoutMs: this.#timeoutMs })
        return secure ? await this.#secure(socket, host) : socket
      } catch (err) {
        // Only a connection that never stood may be tried elsewhere; nothing was sent.
        if (err instanceof UpstreamError) throw err
        failure = err
      }
    }
    throw new UpstreamError('upstream_unreachable', failure)
  }

  #secure(socket: Socket, host: string): Promise<Duplex> {
    return new Promise((resolve, reject) => {
      const secured = connectTls({
        socket,
        servername: host,
        secureContext: this.#trust,
        ALPNProtocols: ['http/1.1'],
        rejectUnauthorized: true,
      })
      const fail = (cause: unknown) => {
        clearTimeout(timer)
        secured.destroy()
        reject(new UpstreamError(isCertificateError(cause) ? 'upstream_untrusted' : 'upstream_failed', cause))
      }
      const timer = setTimeout(() => fail(new Error('the TLS handshake took too long')), this.#timeoutMs)
      secured.once('error', fail)
      secured.once('secureConnect', () => {
        clearTimeout(timer)
        secured.removeListener('error', fail)
        resolve(secured)
      })
    })
  }
}

function isCertificateError(error: unknown): boolean {
  const code = (error as { code?: unknown }).code
  return (
    typeof code === 'string' &&
    /^(?:ERR_TLS_CERT_|CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_(?:GET|VERIFY)|HOSTNAME_MISMATCH|INVALID_CA)/.test(
      code,
    )
  )
}

/** What an error of an upstream request means to the one who asked. */
export function upstreamFailure(error: unknown): UpstreamError['reason'] {
  return error instanceof UpstreamError ? error.reason : 'upstream_failed'
}

/**
 * The codes of an error and its causes, for the log. Never the error itself: a parser's error carries the bytes
 * that it stumbled over, and those may be an echoed credential.
 */
export function failureCode(error: unknown): string {
  const codes: string[] = []
  for (let at = error; at instanceof Error && codes.length < 4; at = at.cause) {
    const { code } = at as NodeJS.ErrnoException
    codes.push(at instanceof UpstreamError ? at.reason : typeof code === 'string' ? code : at.name)
  }
  return codes.join(' < ')
}

/** The Host header, and how a refusal names the place. */
export function authorityOf(tuple: Pick<Tuple, 'scheme' | 'host' | 'port'>): string {
  return formatAuthority(tuple.scheme, tuple.host, tuple.port)
}

/** Whether an answer is framed in a way that its body can be read as it was sent. */
export function plainlyFramed(answer: IncomingMessage): boolean {
  const encoding = answer.headers['transfer-encoding']
  return encoding === undefined || encoding.toLowerCase() === 'chunked'
}
