/**
 * A token endpoint on loopback, with real TLS and real rotation: a refresh token is good once, and using it again ends
 * the whole family, as RFC 9700 section 4.14 wants it. It lies in nothing but its name.
 */
import { type KeyObject, verify } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'

/** How the server behaves towards the next request; `answer` does what an honest server does. */
export type Behaviour =
  | { kind: 'answer' }
  /** Acts, then breaks the connection before a byte of the answer has left. */
  | { kind: 'lose' }
  | { kind: 'cut' }
  | { kind: 'status'; status: number; body: string; headers?: Record<string, string> }
  | { kind: 'hang' }

export class TokenServer {
  readonly clientId = 'toolcrib'
  clientSecret = 'client secret: of+the/company'
  /** The refresh token that is good now. */
  refreshToken = 'refresh-token-number-0000'
  expiresIn: number | undefined = 3_600
  delayMs = 0
  rotates = true
  githubKey: KeyObject | undefined
  /** How far GitHub's clock is ahead of ours. */
  aheadMs = 0
  next: Behaviour[] = []
  /** Every form that arrived. */
  readonly asked: {
    path: string
    form: URLSearchParams
    headers: IncomingMessage['headers']
    body: string
  }[] = []
  readonly issued: string[] = []
  /** A spent refresh token came again. */
  reused = 0
  #revoked = false

  readonly handle = (req: IncomingMessage, res: ServerResponse): void => {
    const chunks: Buffer[] = []
    req.on('data', (chunk: Buffer) => chunks.push(chunk))
    req.on('end', () => {
      const body = Buffer.concat(chunks).toString()
      const form = new URLSearchParams(body)
      this.asked.push({ path: req.url ?? '', form, headers: req.headers, body })
      const behaviour = this.next.shift() ?? { kind: 'answer' }
      setTimeout(() => this.#behave(behaviour, req, res, form), this.delayMs)
    })
  }

  #behave(behaviour: Behaviour, req: IncomingMessage, res: ServerResponse, form: URLSearchParams): void {
    if (behaviour.kind === 'hang') return
    if (behaviour.kind === 'status') {
      res.writeHead(behaviour.status, { 'content-type': 'application/json', ...behaviour.headers })
      res.end(behaviour.body)
      return
    }
    res.setHeader('date', new Date(Date.now() + this.aheadMs).toUTCString())
    const { status, body } =
      req.url?.includes('/app/installations/') === true ? this.#github(req) : this.#grant(req, form)
    if (behaviour.kind === 'lose') {
      req.socket.destroy()
      return
    }
    res.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) })
    if (behaviour.kind === 'answer') res.end(body)
    else {
      res.write(body.slice(0, 20))
      setTimeout(() => req.socket.destroy(), 20)
    }
  }

  #grant(req: IncomingMessage, form: URLSearchParams): { status: number; body: string } {
    const refuse = (error: string, status = 400) => ({ status, body: JSON.stringify({ error }) })
    if (!this.#clientIsGood(req, form)) return refuse('invalid_client', 401)
    if (form.get('grant_type') === 'refresh_token') {
      if (form.get('refresh_token') !== this.refreshToken || this.#revoked) {
        this.reused += 1
        this.#revoked = true
        return refuse('invalid_grant')
      }
      if (this.rotates)
        this.refreshToken = `refresh-token-number-${String(this.asked.length).padStart(4, '0')}`
    } else if (form.get('grant_type') !== 'client_credentials') return refuse('unsupported_grant_type')
    const refresh =
      form.get('grant_type') === 'refresh_token' && this.rotates ? { refresh_token: this.refreshToken } : {}
    return {
      status: 200,
      body: JSON.stringify({
        access_token: this.#issue('access'),
        token_type: 'Bearer',
        ...(this.expiresIn === undefined ? {} : { expires_in: this.expiresIn }),
        ...refresh,
      }),
    }
  }

  #clientIsGood(req: IncomingMessage, form: URLSearchParams): boolean {
    const basic = /^Basic (.+)$/.exec(req.headers.authorization ?? '')?.[1]
    if (basic === undefined)
      return form.get('client_id') === this.clientId && form.get('client_secret') === this.clientSecret
    const [id = '', secret = ''] = Buffer.from(basic, 'base64').toString().split(':')
    const decode = (text: string) => decodeURIComponent(text.replaceAll('+', ' '))
    return decode(id) === this.clientId && decode(secret) === this.clientSecret
  }

  #github(req: IncomingMessage): { status: number; body: string } {
    const jwt = /^Bearer ([\w-]+)\.([\w-]+)\.([\w-]+)$/.exec(req.headers.authorization ?? '')
    const [, head = '', claims = '', signature = ''] = jwt ?? []
    const read = (part: string) =>
      JSON.parse(Buffer.from(part, 'base64url').toString() || '{}') as Record<string, unknown>
    const now = (Date.now() + this.aheadMs) / 1_000
    const { iss, iat, exp } = read(claims) as { iss?: string; iat?: number; exp?: number }
    const good =
      this.githubKey !== undefined &&
      read(head)['alg'] === 'RS256' &&
      iss === 'Iv23app' &&
      (iat ?? now + 99) <= now &&
      (exp ?? 0) > now &&
      (exp ?? 0) - now <= 600 &&
      verify('sha256', Buffer.from(`${head}.${claims}`), this.githubKey, Buffer.from(signature, 'base64url'))
    if (!good) return { status: 401, body: '{"message":"A JSON web token could not be decoded"}' }
    const ends = new Date(Date.now() + this.aheadMs + (this.expiresIn ?? 3_600) * 1_000).toISOString()
    return { status: 201, body: JSON.stringify({ token: this.#issue('ghs'), expires_at: ends }) }
  }

  #issue(kind: string): string {
    const token = `${kind}_real_token_${this.issued.length}_${'x'.repeat(20)}`
    this.issued.push(token)
    return token
  }
}
