import { join } from 'node:path'
import pg from 'pg'
import { afterAll, expect, test } from 'vitest'
import { connectV1, textOf } from '../support/clients.ts'
import { startDev } from '../support/dev-process.ts'
import { needing } from '../support/needs.ts'
import { sandboxOf, searchFolder, searchProcess } from '../support/processes.ts'

/**
 * The key of the demo API for this run. It is in the environment of `toolcrib dev`, so that a leak of that
 * environment would be found as well. Spelled backwards here: the test's own text must not be what it finds.
 */
const key = '9f3kq2_ledom_yranac_evil_dro'.split('').toReversed().join('')
const planted = 'x7_tnalp_yranac'.split('').toReversed().join('')

const dev = await startDev({ environment: { TOOLCRIB_DEMO_KEY: key } })
afterAll(async () => await dev[Symbol.asyncDispose]())
const token = await dev.token('alice')
await dev.newcomer('say', { as: 'alice', text: '/mcp-token' })

/** The value as it is, and as it may be written down on the way. */
const forms = (value: string) => [
  Buffer.from(value),
  Buffer.from(value, 'utf16le'),
  Buffer.from(Buffer.from(value).toString('base64').slice(0, -4)),
  Buffer.from(Buffer.from(value).toString('hex')),
]

/** Everything that Alice's sandbox is: its processes, its home, and its own /tmp as one inside sees it. */
async function searchSandbox(value: string): Promise<string[]> {
  const inside = await sandboxOf(dev.folder, 'alice')
  expect(inside.length).toBeGreaterThan(3)
  const found: string[] = []
  for (const { pid } of inside) {
    // One that ended while it was searched has nothing any more.
    const places = await searchProcess(pid, forms(value)).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT' || error.code === 'ESRCH') return []
      throw error
    })
    found.push(...places)
  }
  found.push(...(await searchFolder(join(dev.folder, 'sandboxes'), forms(value))))
  // Each process sees the same mounts; the toolhost's are everybody's.
  const toolhost = inside.find(({ commandLine }) =>
    /^\S*node \/opt\/toolcrib\/src\/toolhost/.test(commandLine),
  )
  expect(toolhost).toBeDefined()
  for (const folder of ['tmp', 'dev/shm', 'run', 'etc/toolcrib'])
    found.push(...(await searchFolder(`/proc/${toolhost?.pid ?? 0}/root/${folder}`, forms(value))))
  return found
}

test('the search finds what is there: a canary in the home, in an environment and in memory', {
  ...needing('sandbox', 'memory of others'),
  timeout: 180_000,
}, async () => {
  await using client = await connectV1(dev.ready.mcp, token)
  await client.call('workspace_write_file', { path: 'notes/canary.txt', content: `-${planted}-` })
  const command = `CANARY=${planted} setsid sleep 100 >/dev/null 2>&1 & echo $! >asleep; cp notes/canary.txt /tmp/canary`
  await client.call('workspace_run', { command })
  const found = await searchSandbox(planted)
  expect(found).toEqual(
    expect.arrayContaining([
      expect.stringMatching(/homes\/r-alice-\w+-home\/notes\/canary\.txt$/),
      expect.stringMatching(/^\d+ environ$/),
      expect.stringMatching(/^\d+ memory$/),
      expect.stringMatching(/\/root\/tmp\/canary$/),
    ]),
  )
  await client.call('workspace_run', {
    command: 'rm -r notes /tmp/canary; kill $(cat asleep); rm asleep; echo done',
  })
  // And the key itself is found where it was given.
  const { gateway } = dev.ready.pids
  expect(await searchProcess(gateway, [Buffer.from(key)])).toContain(`${gateway} environ`)
})

const replies: string[] = []

test('invariant 1: while and after it is used, the key is nowhere in the sandbox: environment, memory, files', {
  ...needing('sandbox', 'memory of others'),
  timeout: 180_000,
}, async () => {
  await using client = await connectV1(dev.ready.mcp, token)
  let done = false
  const use = async () => {
    while (!done) {
      for (const [name, args] of [
        ['orders_list_orders', {}],
        ['orders_get_order', { id: 'o-1003' }],
        ['orders_create_order', { item: 'file', quantity: 2 }],
      ] as const) {
        const result = await client.call(name, args)
        expect(result.isError).not.toBe(true)
        replies.push(JSON.stringify(result))
      }
    }
  }
  const using = use()
  try {
    expect(await searchSandbox(key)).toEqual([])
  } finally {
    done = true
    await using
  }
  expect(replies.length).toBeGreaterThan(2)
  expect(await searchSandbox(key)).toEqual([])
})

test('invariant 1: nor is it in any reply, however one asks for it', {
  ...needing('sandbox'),
  timeout: 60_000,
}, async () => {
  await using client = await connectV1(dev.ready.mcp, token)
  replies.push(textOf(await client.call('orders_list_orders')))
  // Asked for by one who would like to have it.
  for (const command of [
    'env; cat /proc/self/environ | tr "\\0" "\\n"; cat /proc/*/environ 2>/dev/null | tr "\\0" "\\n"',
    'cat /etc/toolcrib/* /run/egress/* /run/toolcrib/* 2>&1; ls -la / /run /etc',
    'curl -sv https://orders.crib.test:7443/v1/orders 2>&1; curl -sv "$HTTPS_PROXY" 2>&1',
  ])
    replies.push(textOf(await client.call('workspace_run', { command })))
  replies.push(
    JSON.stringify(await client.call('orders_create_order', { item: key.slice(0, 8), quantity: 1 })),
  )
  replies.push(JSON.stringify(await client.call('orders_get_order', { id: '../../../etc' })))
  for (const path of ['/.well-known/oauth-protected-resource', '/readyz', '/admin/v1/openapi.json'])
    replies.push(await (await fetch(`${dev.ready.web}${path}`)).text())
  for (const form of forms(key))
    expect(replies.filter((reply) => reply.includes(form.toString()))).toEqual([])
})

test('invariant 1: nor in the audit, the log, Slack, the command line, or the database', async () => {
  const places: Record<string, string> = {
    log: dev.log(),
    slack: await dev.newcomer('messages?as=alice'),
    audit: (await dev.toolcrib(['audit', '--limit', '500', '--json'])).stdout,
    credentials: (await dev.toolcrib(['credentials', 'list', '--json'])).stdout,
    doctor: (await dev.toolcrib(['doctor', '--json'])).stdout,
    database: await dump(await dev.databaseUrl()),
  }
  expect(places['audit']).toContain('ORDERS_KEY')
  expect(places['database']).toContain('ORDERS_KEY')
  expect(places['slack']).toContain('tcb_')
  for (const [place, text] of Object.entries(places)) {
    for (const form of forms(key)) expect([place, text.includes(form.toString())]).toEqual([place, false])
  }
  // The database's own files too, the write-ahead log among them; and no file of the folder at all.
  expect(await searchFolder(dev.folder, forms(key))).toEqual([])
  const { data_directory } = (await query<{ data_directory: string }>('SHOW data_directory'))[0] ?? {}
  expect(await searchFolder(data_directory ?? '', forms(key))).toEqual([])
}, 60_000)

test('invariant 4: a token is nowhere in the database or the log', async () => {
  const secret = token.slice(token.lastIndexOf('_') + 1)
  expect(await dump(await dev.databaseUrl())).not.toContain(secret)
  expect(dev.log()).not.toContain(secret)
})

async function query<Row extends pg.QueryResultRow>(text: string): Promise<Row[]> {
  const client = new pg.Client({ connectionString: await dev.databaseUrl() })
  await client.connect()
  try {
    return (await client.query<Row>(text)).rows
  } finally {
    await client.end()
  }
}

/** Every row of every table, as text; bytes in hexadecimal and decoded. */
async function dump(url: string): Promise<string> {
  expect(url).toMatch(/^postgres:/)
  const tables = await query<{ name: string }>(
    `SELECT quote_ident(tablename) AS name FROM pg_tables WHERE schemaname = 'public'`,
  )
  expect(tables.length).toBeGreaterThan(8)
  let text = ''
  for (const { name } of tables)
    for (const { row } of await query<{ row: string }>(`SELECT t::text AS row FROM ${name} t`)) {
      text += `${name} ${row}\n`
      for (const [, hex = ''] of row.matchAll(/\\\\?x([0-9a-f]+)/g))
        text += `${Buffer.from(hex, 'hex').toString('latin1')}\n`
    }
  return text
}
