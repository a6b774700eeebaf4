import { expect, test } from 'vitest'
import { Secret } from '../../../src/core/index.ts'
import { deniedAs, host } from '../../support/armed.ts'
import { injectBearer, request, rule, sayAndRead } from '../../support/egress-world.ts'
import { makeRawWorld } from '../../support/raw-upstream.ts'

/**
 * Heads full of what has to be looked at one by one. They are longer here than any is by default: what takes time by
 * the square of a length shows. Client and upstream share this process, and the time is its processor's.
 */
const bytes = 240_000

const full = (unit: string) => unit.repeat(bytes / unit.length)
/** Of these as many as take seconds and not minutes, were each the beginning of a look at all that follow. */
const spaces = ' '.repeat(60_000)
const fields = (count: number) => Array.from({ length: count }, () => 'b:')

const asked: Record<string, { path?: string; query?: string; fields?: string[] }> = {
  'a field with spaces in its midst that is signed': {
    path: '/s3',
    fields: [`X-Amz-Meta-A: a${spaces}b`],
  },
  'a signature with spaces in its midst': { path: '/s3', fields: [`Authorization: a${spaces}b`] },
  'as many names in Connection as fields': {
    fields: [`Connection: ${full('a,').slice(bytes / 2)}`, ...fields(20_000)],
  },
  'pairs of a query that are empty': { query: `?%${full('&')}` },
  'pairs of a query that are parted by semicolons': { query: `?%${full(';')}` },
  'names of a query that are written in escapes': { query: `?${full('%6d&')}` },
  'names of a query in brackets': { query: `?%${full('[&')}` },
}

async function makeWorldOfHeads() {
  const raw = await makeRawWorld({ limits: { headerBytes: 256 * 1024 } })
  const { world } = raw
  let said = ['X-A: b']
  const up = await raw.start((socket) =>
    socket.end(`HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n${said.join('\r\n')}\r\n\r\nok`),
  )
  for (const [name, value] of [
    ['AWS_ID', 'AKIDEXAMPLE12345'],
    ['AWS_SECRET', 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY'],
  ] as const)
    await world.vault.setCredential({
      name,
      scope: 'global',
      scopeId: '',
      value: new Secret(value),
      by: 'test',
    })
  const sign = {
    kind: 'aws_sigv4',
    access_key_id: 'AWS_ID',
    secret_access_key: 'AWS_SECRET',
    regions: ['eu-central-1'],
    services: ['s3'],
  }
  await world.setRules([
    rule(host, up.port, { paths: ['/orders'], inject: injectBearer }),
    rule(host, up.port, { paths: ['/s3'], sign }),
  ])
  /** What a request takes of the processor, in ms; the least of three, for the first may be the first of its kind. */
  const takes = async (path: string, extra: string[], answered: string[] = ['X-A: b']): Promise<number> => {
    said = answered
    let least = Infinity
    for (let round = 0; round < 3; round += 1) {
      const socket = await world.tunnel(host, up.port)
      const before = process.cpuUsage()
      const answer = await sayAndRead(socket, request(host, up.port, path, extra), 50_000)
      const { user, system } = process.cpuUsage(before)
      least = Math.min(least, (user + system) / 1_000)
      expect(['', 'signing_refused']).toContain(deniedAs(answer))
      socket.destroy()
    }
    return least
  }
  return { takes, [Symbol.asyncDispose]: () => raw[Symbol.asyncDispose]() }
}

/** One that is looked at anew for each other takes seconds. */
const bounded = (plainMs: number) => 5 * plainMs + 400

test('row 40: a head full of what is looked at one by one takes about the time of one of as many fields', async () => {
  await using world = await makeWorldOfHeads()
  const plain = await world.takes('/orders', fields(bytes / 6))
  for (const [what, { path = '/orders', query = '', fields: extra = [] }] of Object.entries(asked)) {
    const ms = await world.takes(path + query, extra)
    expect([what, ms < bounded(plain), Math.round(ms), Math.round(plain)]).toEqual([
      what,
      true,
      Math.round(ms),
      Math.round(plain),
    ])
  }
})

test('row 40: an answer that names as many fields in Connection as it has is passed on in the time of another', async () => {
  await using world = await makeWorldOfHeads()
  const plain = await world.takes('/orders', [], fields(40_000))
  const ms = await world.takes(
    '/orders',
    [],
    [`Connection: ${full('a,').slice(bytes / 2)}`, ...fields(20_000)],
  )
  expect([ms < bounded(plain), Math.round(ms), Math.round(plain)]).toEqual([
    true,
    Math.round(ms),
    Math.round(plain),
  ])
})
