/** A world with a token endpoint and an upstream that takes its tokens: see `token-server.ts` for where it lies. */
import { Secret } from '../../src/core/index.ts'
import type { Egress } from '../../src/egress/index.ts'
import { makeWorld, request, rule, sayAndRead, type World } from './egress-world.ts'
import { TokenServer } from './token-server.ts'
import type { Upstream } from './upstream.ts'

export const apiHost = 'api.example.com'
export const authHost = 'auth.example.com'

export interface MintWorld extends AsyncDisposable {
  world: World
  server: TokenServer
  auth: Upstream
  api: Upstream
  /** Configures a minted credential that is injected as a bearer token into every request to the API. */
  mint: (spec: Record<string, unknown>, rules?: Record<string, unknown>[]) => Promise<void>
  set: (name: string, value: string, principalId?: string) => Promise<void>
  /** One request to the API through a tunnel of its own: the whole answer as it came. */
  ask: (options?: {
    host?: string
    port?: number
    path?: string
    method?: string
    body?: string
    headers?: string[]
    egress?: Egress
    lease?: string
  }) => Promise<string>
  /** The bearer tokens that arrived at the API. */
  bearers: () => string[]
}

export async function makeMintWorld(options: Parameters<typeof makeWorld>[0] = {}): Promise<MintWorld> {
  await using stack = new AsyncDisposableStack()
  const world = stack.use(await makeWorld(options))
  const server = new TokenServer()
  const auth = await world.upstream(server.handle)
  const api = await world.upstream((req, res) =>
    res.end(`you sent ${req.headers.authorization ?? 'nothing'}`),
  )
  const set: MintWorld['set'] = (name, value, principalId = '') =>
    world.vault.setCredential({
      name,
      scope: principalId === '' ? 'global' : 'principal',
      scopeId: principalId,
      value: new Secret(value),
      by: 'test',
    })
  await set('CLIENT_SECRET', server.clientSecret)
  await set('REFRESH_TOKEN', server.refreshToken)
  const resources = stack.move()
  return {
    world,
    server,
    auth,
    api,
    set,
    async mint(spec, rules = []) {
      const inject = [{ credential: 'API_TOKEN', into: 'header:authorization', format: 'Bearer {value}' }]
      await world.setRules([rule(apiHost, api.port, { inject } as never), ...rules], 'orders', {
        minted: {
          API_TOKEN: { ...clientOf({ server, auth }), ...spec },
        },
      })
    },
    async ask(asked = {}) {
      const host = asked.host ?? apiHost
      const port = asked.port ?? api.port
      const { egress, lease } = asked
      const socket = await world.tunnel(host, port, { egress, ...(lease === undefined ? {} : { lease }) })
      const text = request(host, port, asked.path ?? '/', asked.headers, asked.method ?? 'GET', asked.body)
      const answer = await sayAndRead(socket, text, 20_000)
      socket.destroy()
      return answer
    },
    bearers: () =>
      api.seen
        .flatMap(({ rawHeaders }) => rawHeaders.filter((value) => value.startsWith('Bearer ')))
        .map((text) => text.slice(7)),
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  }
}

export const clientCredentials = { kind: 'oauth_client_credentials', scopes: ['orders.read', 'orders.write'] }
export const refreshGrant = { kind: 'oauth_refresh_token', refresh_token: 'REFRESH_TOKEN' }

/**
 * An API that says every token that was ever issued. It takes one on every path but `/open`, which is only searched
 * for it; `answer` says with which status, or waits.
 */
export async function makeEcho(
  minting: MintWorld,
  answer: (path: string) => number | Promise<number> = () => 200,
  spec: Record<string, unknown> = {},
) {
  const { world, server, auth } = minting
  const arrived: string[] = []
  const echo = await world.upstream((req, res) => {
    const path = req.url ?? ''
    arrived.push(`${path} ${req.headers.authorization}`)
    void Promise.resolve(answer(path)).then((status) => {
      res.writeHead(status)
      res.end(`said: ${server.issued.join(' ')} ${req.headers.authorization}`)
    })
  })
  const inject = [{ credential: 'API_TOKEN', into: 'header:authorization', format: 'Bearer {value}' }]
  await world.setRules(
    [rule(apiHost, echo.port, { paths: ['/open'] }), rule(apiHost, echo.port, { inject } as never)],
    'orders',
    { minted: { API_TOKEN: { ...clientCredentials, ...clientOf({ server, auth }), ...spec } } },
  )
  const ask = (path: string, egress: Egress = world.egress) => minting.ask({ port: echo.port, path, egress })
  return { ask, arrived }
}

/** What the specification of a minted token says of its endpoint and of us, whatever grant it is. */
export function clientOf({ server, auth }: Pick<MintWorld, 'server' | 'auth'>): Record<string, string> {
  return {
    token_url: `https://${authHost}:${auth.port}/oauth/token`,
    address: '127.0.0.1',
    client_id: server.clientId,
    client_secret: 'CLIENT_SECRET',
  }
}
