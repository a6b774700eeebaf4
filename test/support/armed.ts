/** One route with a credential to an upstream that answers as told: what most attacks are tried on. */
import type { RequestListener } from 'node:http'
import type { Socket } from 'node:net'
import type { EgressRule } from '../../src/catalog/index.ts'
import { injectBearer, request, rule, sayAndRead, type World } from './egress-world.ts'
import type { Upstream } from './upstream.ts'

export const host = 'orders.example.com'

export interface Armed {
  up: Upstream
  /** One request in a tunnel of its own: everything that comes back. */
  say: (path: string, extra?: string[], method?: string, body?: string) => Promise<string>
  /** The same, byte for byte as written. */
  raw: (text: string) => Promise<string>
}

export async function armed(
  world: World,
  handle: RequestListener,
  extra: Partial<EgressRule> = {},
): Promise<Armed> {
  const up = await world.upstream(handle)
  await world.setRules([rule(host, up.port, { inject: injectBearer, ...extra })])
  const raw = async (text: string) => await sayAndRead(await world.tunnel(host, up.port), text)
  return {
    up,
    raw,
    say: async (path, headers = [], method = 'GET', body = '') =>
      await raw(request(host, up.port, path, headers, method, body)),
  }
}

/** Why it was refused, as its header says; empty when it was not. */
export function deniedAs(answer: string): string {
  return /^x-toolcrib-denied: (\S+)/im.exec(answer)?.[1] ?? ''
}

/** Everything that comes back on a socket, as it grows. */
export function listenTo(socket: Socket): { text: string; closed: boolean } {
  const heard = { text: '', closed: false }
  socket.on('data', (chunk: Buffer) => {
    heard.text += chunk.toString('latin1')
  })
  socket.on('close', () => {
    heard.closed = true
  })
  return heard
}

/** A signature for S3 by stored keys, beside which a token goes out as it is. */
export const signWithSession = {
  kind: 'aws_sigv4',
  access_key_id: 'AWS_ID',
  secret_access_key: 'AWS_SECRET',
  session_token: 'AWS_SESSION',
  regions: ['eu-central-1'],
  services: ['s3'],
}
