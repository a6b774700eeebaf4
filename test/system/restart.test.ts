import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { connectV1, textOf } from '../support/clients.ts'
import { startDev } from '../support/dev-process.ts'
import { look, processes } from '../support/processes.ts'
import { until } from '../support/until.ts'

const folder = await mkdtemp(join(tmpdir(), 'toolcrib-restart-'))
afterAll(async () => await rm(folder, { recursive: true, force: true }))

/** Ours are those that name the folder, and all that come from the process started here. */
async function ours(root: number): Promise<number[]> {
  const all = await processes()
  const found = new Set(
    all.filter((each) => each.pid === root || each.commandLine.includes(folder)).map(({ pid }) => pid),
  )
  for (let before = -1; before !== found.size; ) {
    before = found.size
    for (const each of all) if (found.has(each.parent)) found.add(each.pid)
  }
  found.delete(process.pid)
  return [...found]
}

async function left(pids: number[], root: number): Promise<string[]> {
  const alive = await Promise.all([...new Set([...pids, ...(await ours(root))])].map(look))
  return alive.filter((each) => each !== undefined).map((each) => `${each.pid} ${each.commandLine}`)
}

let token = ''
let before: { url: string; audit: string[]; adminKey: string }

test('Ctrl-C leaves no process: the whole group hears it, and npm passes it on once more', async () => {
  await using dev = await startDev({ folder, detached: true })
  const root = dev.process.pid ?? 0
  token = await dev.token('alice')
  const client = await connectV1(dev.ready.mcp, token)
  await client.call('workspace_write_file', { path: 'kept.txt', content: 'yesterday' })
  // Something in the background and something in mid-call, as on any evening.
  await client.call('workspace_run', { command: 'setsid sleep 300 >/dev/null 2>&1 & echo started' })
  const running = client.call('workspace_run', { command: 'sleep 3117' }).catch(() => undefined)
  await until(async () => (await processes()).some(({ commandLine }) => commandLine.startsWith('sleep 3117')))
  before = { url: dev.ready.mcp, adminKey: dev.ready.adminKey, audit: await audit(dev) }
  const pids = await ours(root)
  expect(pids).toEqual(expect.arrayContaining(Object.values(dev.ready.pids)))
  expect(pids.length).toBeGreaterThan(10)

  process.kill(-root, 'SIGINT')
  dev.process.kill('SIGINT')
  expect(await dev.stop()).toBe(0)
  await until(async () => (await left(pids, root)).length === 0).catch(() => undefined)
  expect(await left(pids, root)).toEqual([])
  await client[Symbol.asyncDispose]()
  await running
}, 90_000)

test('invariant 14: the next start finds tokens, homes, the audit, the admin key and its own address', async () => {
  await using dev = await startDev({ folder })
  expect(dev.ready.mcp).toBe(before.url)
  expect(dev.ready.adminKey).toBe(before.adminKey)
  await using client = await connectV1(dev.ready.mcp, token)
  expect(textOf(await client.call('workspace_read_file', { path: 'kept.txt' }))).toBe('yesterday')
  expect(textOf(await client.call('orders_list_orders'))).toContain('brass token')
  expect(await audit(dev)).toEqual(expect.arrayContaining(before.audit))
}, 90_000)

test('killed without a word, the next start cleans up and finds everything again', async () => {
  const dev = await startDev({ folder })
  const root = dev.process.pid ?? 0
  {
    await using client = await connectV1(dev.ready.mcp, token)
    await client.call('workspace_write_file', { path: 'kept.txt', content: 'before the kill' })
  }
  await dev.stop('SIGKILL')
  await using again = await startDev({ folder })
  await using client = await connectV1(again.ready.mcp, token)
  expect(textOf(await client.call('workspace_read_file', { path: 'kept.txt' }))).toBe('before the kill')
  const pids = await ours(again.process.pid ?? 0)
  await client[Symbol.asyncDispose]()
  await again.stop()
  await until(async () => (await left(pids, root)).length === 0).catch(() => undefined)
  expect(await left(pids, root)).toEqual([])
}, 90_000)

test('--reset forgets everything', async () => {
  await using dev = await startDev({ folder, arguments: ['--reset'] })
  await expect(connectV1(dev.ready.mcp, token)).rejects.toThrow(/mcp-token/)
  expect(dev.ready.adminKey).not.toBe(before.adminKey)
  await using client = await connectV1(dev.ready.mcp, await dev.token('alice'))
  const files = textOf(await client.call('workspace_list_files', { path: '.' }))
  expect(files).not.toContain('kept.txt')
  const now = await audit(dev)
  expect(now.filter((id) => before.audit.includes(id))).toEqual([])
}, 90_000)

async function audit(dev: Awaited<ReturnType<typeof startDev>>): Promise<string[]> {
  const { stdout } = await dev.toolcrib(['audit', '--limit', '500', '--json'])
  const { events } = JSON.parse(stdout) as { events: { at: string; kind: string; id: number }[] }
  return events.map(({ id, at, kind }) => `${id} ${at} ${kind}`)
}
