import type { Running } from './contestants.ts'
import type { Driver, Upstream } from './helpers.ts'
import { host, secret } from './names.ts'
import type { Told } from './probe.ts'
import type { Seen } from './upstream.ts'
import type { Target } from './wire.ts'

/** One row of the table: what was tried, and what each contestant did, in a few words. */
export interface Case {
  title: string
  /** What ours must say; the run fails when it does not. */
  right: RegExp
  try(tools: Tools): Promise<string>
}

interface Tools {
  /** Writes `raw` in a tunnel to this host and port, by the way of the contestant. */
  tunnel: (raw: string, to?: { host?: string; port?: number }) => Promise<Told & { seen: Seen[] }>
  /** Writes `raw` to the proxy itself. */
  straight: (raw: string) => Promise<Told & { seen: Seen[] }>
  ports: Upstream['ports']
}

const get = (path: string, hostLine: string, more = '') =>
  `GET ${path} HTTP/1.1\r\nHost: ${hostLine}\r\n${more}\r\n`

/** For those that let it through: whether the secret went along. */
function arrived({ seen, status, at }: Told & { seen: Seen[] }, words: (one: Seen) => string): string {
  const [one] = seen
  if (one !== undefined) return words(one)
  const code = /^HTTP\/1\.1 (\d+)/.exec(status)?.[1]
  return `${code ?? 'closed'}${at === 'connect' ? ' at CONNECT' : ''}`
}
const withSecret = (yes: string, no: string) => (one: Seen) => (one.hasSecret ? yes : no)

export const cases: Case[] = [
  {
    title: 'CONNECT upstream, inner Host evil',
    right: /^4\d\d/,
    try: async ({ tunnel }) =>
      arrived(await tunnel(get('/echo', host.evil)), ({ hosts, hasSecret }) =>
        hasSecret ? `secret to upstream under Host ${hosts.join()}` : 'reached, no secret',
      ),
  },
  {
    title: 'CONNECT evil, inner Host upstream',
    right: /^403 at CONNECT/,
    try: async ({ tunnel }) =>
      arrived(
        await tunnel(get('/echo', host.api), { host: host.evil }),
        withSecret('LEAK to evil', 'no secret'),
      ),
  },
  {
    title: 'CONNECT another allowed host, inner Host upstream',
    right: /^4\d\d/,
    try: async ({ tunnel }) =>
      arrived(
        await tunnel(get('/echo', host.api), { host: host.other }),
        withSecret('LEAK to the other host', 'no secret'),
      ),
  },
  {
    title: 'plain http:// to the credentialed host',
    right: /^403/,
    try: async ({ straight, ports }) =>
      arrived(
        await straight(get(`http://${host.api}:${ports.plain}/echo`, `${host.api}:${ports.plain}`)),
        withSecret('secret in clear', 'no secret'),
      ),
  },
  {
    title: 'another port of that host',
    right: /^403/,
    try: async ({ tunnel, ports }) =>
      arrived(
        await tunnel(get('/echo', `${host.api}:${ports.second}`), { port: ports.second }),
        withSecret('secret sent', 'no secret'),
      ),
  },
  {
    title: 'upstream echoes the header in body and header',
    right: /^redacted/,
    try: async ({ tunnel, ports }) => {
      const { text, seen } = await tunnel(get('/echo', `${host.api}:${ports.full}`))
      if (seen[0]?.hasSecret !== true) return 'no secret'
      const [top = '', body = ''] = text.split('\r\n\r\n', 2)
      const places = [top.includes(secret) ? 'header' : '', body.includes(secret) ? 'body' : '']
      const where = places.filter((place) => place !== '').join(' and ')
      return where === '' ? 'redacted' : `client sees it in ${where}`
    },
  },
  {
    title: 'two Host headers',
    right: /^400/,
    try: async ({ tunnel, ports }) =>
      arrived(
        await tunnel(get('/echo', `${host.api}:${ports.full}`, `Host: ${host.evil}\r\n`)),
        ({ hosts, hasSecret }) => `${hosts.length} forwarded, ${hasSecret ? 'with the secret' : 'no secret'}`,
      ),
  },
  {
    title: '`Connection: authorization`',
    right: /^(kept|400)/,
    try: async ({ tunnel, ports }) =>
      arrived(
        await tunnel(get('/echo', `${host.api}:${ports.full}`, 'Connection: authorization\r\n')),
        withSecret('kept', 'the injected credential dropped'),
      ),
  },
  {
    title: '127.0.0.1 by address',
    right: /^403 at CONNECT/,
    try: async ({ tunnel, ports }) =>
      arrived(await tunnel(get('/echo', `127.0.0.1:${ports.full}`), { host: '127.0.0.1' }), () => 'reached'),
  },
  {
    title: 'chunked NDJSON',
    right: /^streams/,
    try: async ({ tunnel, ports }) => {
      const { firstEventMs, status } = await tunnel(get('/ndjson', `${host.api}:${ports.full}`))
      if (firstEventMs === undefined) return status
      return firstEventMs < 80 ? 'streams' : 'held to the end'
    },
  },
  {
    title: 'Transfer-Encoding and Content-Length together',
    right: /^400/,
    try: async ({ tunnel, ports }) => {
      const smuggled = 'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'
      return arrived(
        await tunnel(`POST /echo HTTP/1.1\r\nHost: ${host.api}:${ports.full}\r\n${smuggled}`),
        withSecret('forwarded with the secret', 'forwarded'),
      )
    },
  },
]

/** Tries every case on one contestant that runs. Title → what it did. */
export async function tryAll(
  driver: Driver,
  upstream: Upstream,
  running: Running,
): Promise<Record<string, string>> {
  const { ports } = upstream
  const { credential: _, ...way } = running.way
  const target: Target = { ...way, host: host.api, port: ports.full }
  const [identity] = running.way.identities ?? []
  const run = async (to: Target, raw: string, inTunnel: boolean) => {
    await upstream.take()
    const told = await driver.do('probe', to, raw, inTunnel)
    return { ...told, seen: await upstream.take() }
  }
  const tools: Tools = {
    ports,
    tunnel: async (raw, to) => await run({ ...target, ...to }, raw, true),
    straight: async (raw) => {
      const named = identity === undefined ? '' : `Proxy-Authorization: ${identity}\r\n`
      return await run(target, raw.replace('\r\n\r\n', `\r\n${named}\r\n`), false)
    },
  }
  const found: Record<string, string> = {}
  for (const one of cases) found[one.title] = await one.try(tools).catch((error: Error) => error.message)
  return found
}

/** What ours got wrong, which no run may hide. */
export function faults(found: Record<string, string>): string[] {
  const wrong = cases.filter(({ title, right }) => !right.test(found[title] ?? ''))
  return wrong.map(({ title }) => `${title}: ${found[title]}`)
}
