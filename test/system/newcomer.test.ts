import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, expect, onTestFinished, test } from 'vitest'
import {
  type Connect,
  connectInspector,
  connectMcpRemote,
  connectV1,
  connectV2,
  textOf,
} from '../support/clients.ts'
import { runToolcrib, startDev } from '../support/dev-process.ts'
import { until } from '../support/until.ts'

const entry = fileURLToPath(new URL('../../bin/toolcrib.mjs', import.meta.url))
const key = 'ord_live_newcomer_knows_nothing_of_it'
const dev = await startDev({ environment: { TOOLCRIB_DEMO_KEY: key } })
afterAll(async () => await dev[Symbol.asyncDispose]())

/** Where no sandbox can be had, everything works all the same, and the doctor says what is missing. */
const isBare = dev.ready.isolation === 'none'

interface Event {
  kind: string
  callId: string | null
  data: Record<string, unknown>
}

const json = async <T>(...args: string[]) => {
  const run = await dev.toolcrib([...args, '--json'])
  expect([run.code, run.stderr]).toEqual([0, ''])
  return JSON.parse(run.stdout) as T
}
const events = async (...filter: string[]) =>
  (await json<{ events: Event[] }>('audit', ...filter, '--limit', '500')).events

/** A direct message to the app, and the token out of its answer. */
const tokenByMessage = async (as: string) => {
  const [token] = /tcb_\w+/.exec(await dev.newcomer('say', { as, text: '/mcp-token' })) ?? []
  if (token === undefined) throw new Error('the answer held no token')
  return token
}

const token = await tokenByMessage('alice')
await until(async () => (await (await connectV1(dev.ready.mcp, token)).list()).length > 15, 30_000)

const clients: [name: string, connect: Connect][] = [
  ['SDK v1', connectV1],
  ['SDK v2 in legacy mode', connectV2('legacy')],
  ['SDK v2 in auto mode', connectV2('auto')],
  ['SDK v2 pinned to 2026-07-28', connectV2({ pin: '2026-07-28' })],
  ["Inspector's command line", connectInspector],
  ['mcp-remote', connectMcpRemote],
]
for (const [name, connect] of clients) {
  test(`a token out of a direct message works with ${name}`, async () => {
    await using client = await connect(dev.ready.mcp, token)
    const names = await client.list()
    expect(names).toEqual(
      expect.arrayContaining(['everything_echo', 'orders_list_orders', 'workspace_run', 'whoami']),
    )
    expect(textOf(await client.call('orders_list_orders'))).toContain('brass token')
    const ran = await client.call('workspace_run', { command: 'echo $((6*7)) in $HOME' })
    expect(textOf(ran)).toMatch(isBare ? /42 in \S+\/homes\/r-alice-/ : /42 in \/home\/crib$/m)
    expect(textOf(await client.call('everything_echo', { message: 'hello' }))).toBe('Echo: hello')
    const image = await client.call('everything_get_tiny_image')
    const [block] = image.content.filter(({ type }) => type === 'image')
    expect(block).toMatchObject({ mimeType: 'image/png' })
    expect(
      Buffer.from(block?.data ?? '', 'base64')
        .subarray(1, 4)
        .toString(),
    ).toBe('PNG')
    const weather = await client.call('everything_get_structured_content', { location: 'Chicago' })
    expect(weather.structuredContent).toMatchObject({ temperature: expect.any(Number) as number })
  }, 120_000)
}

test('invariant 11: the audit joins a call to the request that it caused and names the credential, not its value', async () => {
  const mine = await tokenByMessage('bob')
  await using client = await connectV1(dev.ready.mcp, mine)
  expect(textOf(await client.call('orders_get_order', { id: 'o-1002' }))).toContain('torque wrench')
  const [finished] = await events('--person', 'bob', '--kind', 'call.finished')
  const callId = finished?.callId ?? ''
  const joined = await events('--call', callId)
  expect(joined.map(({ kind }) => kind).toSorted()).toEqual(['call.finished', 'egress.allowed'])
  expect(joined.find(({ kind }) => kind === 'call.finished')?.data).toMatchObject({
    alias: 'orders_get_order',
    outcome: 'ok',
    client: 'journey 1.0',
  })
  const request = joined.find(({ kind }) => kind === 'egress.allowed')
  expect(request?.data).toMatchObject({
    host: 'orders.crib.test',
    path: '/v1/orders/o-1002',
    callIds: [callId],
    credentials: [{ slot: 'header:authorization', credential: 'ORDERS_KEY' }],
  })
  expect(JSON.stringify(joined)).not.toContain(key)
  expect(JSON.stringify(joined)).not.toContain(mine)
})

test('a tool that is refused a destination tells the person what to ask an admin for', async () => {
  await using client = await connectV1(dev.ready.mcp, await tokenByMessage('alice'))
  const command = `node -e "fetch('https://api.example.com/v1/things').catch(() => process.exit(3))"`
  const ran = await client.call('workspace_run', { command })
  expect(ran.isError).toBe(true)
  expect(textOf(ran)).toContain('toolcrib egress allow workspace GET https://api.example.com')
})

test('beside npm run dev the commands for rules and keys know its sources, what they asked for, and its proxy', async () => {
  await using client = await connectV1(dev.ready.mcp, await tokenByMessage('alice'))
  await client.call('workspace_run', {
    command: `node -e "fetch('https://api.example.com/v1/things').catch(() => undefined)"`,
  })
  const cwd = await mkdtemp(join(tmpdir(), 'toolcrib-beside-'))
  onTestFinished(() => rm(cwd, { recursive: true, force: true }))
  await mkdir(join(cwd, '.toolcrib'))
  await symlink(dev.folder, join(cwd, '.toolcrib', 'dev'))
  const run = async (...args: string[]) =>
    (
      await promisify(execFile)(process.execPath, [entry, ...args], {
        cwd,
        env: { PATH: process.env['PATH'] },
      })
    ).stdout
  // Its record is there a moment after it.
  await expect
    .poll(async () => await run('egress', 'suggest', 'workspace'), { timeout: 10_000 })
    .toContain('a tunnel to api.example.com:443 was refused')
  expect(await run('egress', 'allow', 'workspace', 'GET', 'https://api.example.com/v1')).toMatch(
    /^# Add to toolcrib\.dev\.yaml, then start `npm run dev` again:\n# The tools of workspace then wait to be accepted[^]*host: api\.example\.com/,
  )
  // Where the demo listens now, not where it usually does.
  const demo = `${dev.ready.demo.url}/v1/orders`
  expect(await run('egress', 'allow', 'orders', 'GET', demo)).toContain('allows this already')
  expect(await run('egress', 'allow', 'workspace', 'GET', demo)).toContain('The source orders reaches')
  expect(await run('keys', 'list')).toContain('Proxies alive: 1')
  // Nothing was started, and nothing ended, for having asked.
  expect((await dev.toolcrib(['doctor'])).code).toBe(0)
})

test('tokens are issued, listed, rotated and revoked from a shell', async () => {
  const issued = await dev.toolcrib(['tokens', 'issue', '--for', 'dana', '--lifetime', '30m'])
  expect(issued.code).toBe(0)
  expect(issued.stdout).toMatch(/^tcb_\w+\n$/)
  const first = issued.stdout.trim()
  const listed = await json<{ tokens: { id: string; state: string }[] }>('tokens', 'list', '--for', 'dana')
  expect(listed.tokens).toHaveLength(1)
  const [id] = listed.tokens.map((row) => row.id)
  const rotated = await dev.toolcrib(['tokens', 'rotate', id ?? ''])
  const second = rotated.stdout.trim()
  expect(second).not.toBe(first)
  await expect(connectV1(dev.ready.mcp, first)).rejects.toThrow(/mcp-token/)
  await using client = await connectV1(dev.ready.mcp, second)
  const [next] = (await json<typeof listed>('tokens', 'list', '--for', 'dana')).tokens
  expect((await dev.toolcrib(['tokens', 'revoke', next?.id ?? '', '--cause', 'test'])).code).toBe(0)
  expect(textOf(await client.call('whoami').catch((error: Error) => said(error)))).toMatch(/revoked/)
  expect((await json<typeof listed>('tokens', 'list', '--for', 'dana')).tokens).toEqual([])
  const all = await json<typeof listed>('tokens', 'list', '--for', 'dana', '--all')
  expect(all.tokens).toHaveLength(2)
})

test('people, runners, tools and doctor answer from a shell', async () => {
  const { people } = await json<{ people: { name: string }[] }>('people', 'list')
  expect(people.map(({ name }) => name)).toEqual(expect.arrayContaining(['Alice', 'Bob', 'Dana']))
  type Runners = { runners: { principalName: string; state: string; generation: number }[] }
  const of = async (name: string) =>
    (await json<Runners>('runners', 'list')).runners.find((row) => row.principalName === name)
  const before = await of('Alice')
  expect(before).toMatchObject({ state: 'ready', generation: 1 })
  expect((await dev.toolcrib(['runners', 'stop', 'alice', '--cause', 'test'])).code).toBe(0)
  await until(async () => (await of('Alice'))?.state === 'stopped')
  await using client = await connectV1(dev.ready.mcp, token)
  expect(textOf(await client.call('everything_echo', { message: 'awake' }))).toBe('Echo: awake')
  expect(await of('Alice')).toMatchObject({ state: 'ready', generation: 2 })

  const tools = await dev.toolcrib(['tools', 'list'])
  expect(tools.stdout).toMatch(/orders_list_orders +orders +list_orders +accepted +yes/)
  expect((await dev.toolcrib(['tools', 'accept', 'orders_list_orders'])).code).toBe(0)
  const doctor = await dev.toolcrib(['doctor'])
  const failed = doctor.stdout.split('\n').flatMap((line) => /^FAIL +([^:]+)/.exec(line)?.[1] ?? [])
  expect([doctor.code, failed]).toEqual(isBare ? [1, ['isolation']] : [0, []])
})

test('a credential is read from standard input and never shown again', async () => {
  const set = await dev.toolcrib(['credentials', 'set', 'SPARE_KEY'], 'spare-value-9\n')
  expect([set.code, set.stdout]).toEqual([0, 'SPARE_KEY for everybody is set.\n'])
  const list = await dev.toolcrib(['credentials', 'list'])
  expect(list.stdout).toMatch(/ORDERS_KEY[^]*SPARE_KEY/)
  expect(list.stdout + JSON.stringify(await events())).not.toContain('spare-value-9')
  expect((await dev.toolcrib(['credentials', 'remove', 'SPARE_KEY'])).code).toBe(0)
})

test('exit codes say what went wrong', async () => {
  expect((await dev.toolcrib(['tokens', 'revoke', 'tok_000000000000'])).code).toBe(1)
  expect((await dev.toolcrib(['tokens', 'issue'])).code).toBe(2)
  expect((await dev.toolcrib(['tokens', 'issue', '--for', 'alice', '--lifetime', 'soon'])).code).toBe(2)
  expect((await dev.toolcrib(['people', 'list', '--url', 'http://127.0.0.1:1'])).code).toBe(3)
  const wrong = { TOOLCRIB_URL: dev.ready.admin, TOOLCRIB_ADMIN_KEY: `${dev.ready.adminKey}x` }
  expect((await runToolcrib(['people', 'list'], wrong)).code).toBe(4)
})

const said = (error: Error) => ({ content: [{ type: 'text', text: error.message }] })
