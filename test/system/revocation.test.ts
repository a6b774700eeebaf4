import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { connectV1, type Result, textOf } from '../support/clients.ts'
import { startDev } from '../support/dev-process.ts'
import { processes } from '../support/processes.ts'
import { until } from '../support/until.ts'

/** The promise is one second; half a second more is for this machine, which runs other tests at the same time. */
const limitMs = 1_500

const wayOut = `
    egress:
      - host: orders.crib.test
        port: 7443
        methods: [POST]
        paths: [/v1/orders]
        address: 127.0.0.1
        inject: [{ credential: ORDERS_KEY, into: 'header:authorization', format: 'Bearer {value}' }]`

/** Workspace may also reach the demo API, so that a command of ours can hold a request open. */
const dev = await startDev({
  config: (sample) => sample.replace('    timeout_seconds: 600', `    timeout_seconds: 600${wayOut}`),
})
afterAll(async () => await dev[Symbol.asyncDispose]())

async function longCall(person: string, seconds: number) {
  const token = await dev.token(person)
  const client = await connectV1(dev.ready.mcp, token)
  const { marker, command } = {
    marker: `sleep ${seconds}`,
    command: `sleep ${seconds} & sleep ${seconds}; wait`,
  }
  const ended = client
    .call('workspace_run', { command })
    .catch((error: Error): Result => ({ content: [{ type: 'text', text: error.message }], isError: true }))
    .then((result) => ({ text: textOf(result), isError: result.isError, at: performance.now() }))
  const asleep = async () =>
    (await processes()).filter(({ commandLine }) => commandLine.trim() === marker).length
  const tooEarly = ended.then(({ text }) => {
    throw new Error(`the call ended before it was to: ${text}`)
  })
  tooEarly.catch(() => undefined)
  await Promise.race([until(async () => (await asleep()) === 2, 60_000), tooEarly])
  return {
    client,
    token,
    ended,
    /** Measures from when the order to end was answered, and waits until its processes are gone too. */
    async endsAfter(orderAnswered: number) {
      const { text, isError, at } = await ended
      await until(async () => (await asleep()) === 0)
      const gone = performance.now() - orderAnswered
      process.stderr.write(
        `    the caller knew ${Math.round(at - orderAnswered)} ms after the answer, its processes were gone after ${Math.round(gone)} ms\n`,
      )
      expect(isError).toBe(true)
      expect(at - orderAnswered).toBeLessThan(limitMs)
      expect(gone).toBeLessThan(limitMs)
      return text
    },
  }
}

const refusal = async (client: Awaited<ReturnType<typeof connectV1>>, name = 'whoami') =>
  await client.call(name).then(textOf, (error: Error) => error.message)

test('invariant 5: a token revoked in mid-call ends the call, its processes, and the next request', async () => {
  const call = await longCall('alice', 4101)
  const [, id = ''] = /^tcb_([^_]+)_/.exec(call.token) ?? []
  const revoke = await fetch(`${dev.ready.admin}/admin/v1/tokens/tok_${id}/revoke`, admin({}))
  const answered = performance.now()
  expect(revoke.status).toBe(200)
  expect(await call.endsAfter(answered)).toMatch(/token .*revoked.*\/mcp-token/i)
  expect(await refusal(call.client)).toMatch(/revoked[^]*\/mcp-token/i)
  await call.client[Symbol.asyncDispose]()
}, 120_000)

test('invariant 5: so does leaving the company, when Slack says so', async () => {
  const call = await longCall('bob', 4102)
  await dev.newcomer('leave', { as: 'bob' })
  expect(await call.endsAfter(performance.now())).toMatch(/deactivated|revoked/i)
  expect(await refusal(call.client)).toMatch(/deactivated|revoked/i)
  expect(await dev.newcomer('say', { as: 'bob', text: '/mcp-token' })).not.toContain('tcb_')
  await dev.newcomer('leave', { as: 'bob', gone: false })
  await using again = await connectV1(dev.ready.mcp, await dev.token('bob'))
  expect(await refusal(again)).toContain('Bob')
  await call.client[Symbol.asyncDispose]()
}, 120_000)

test('invariant 5: so does a tool that is blocked, for this tool', async () => {
  const call = await longCall('dana', 4103)
  await dev.apply((text) => `${text}    - tools: workspace.run\n      do: block\n      reason: not today\n`)
  expect(await call.endsAfter(performance.now())).toMatch(/blocked[^]*not today|not today/i)
  const refused = await call.client.call('workspace_run', { command: 'true' }).then(textOf, String)
  expect(refused).toMatch(/not today/)
  const other = await call.client.call('workspace_list_files', { path: '.' })
  expect(other.isError).not.toBe(true)
  await dev.apply((text) => text)
  expect(textOf(await call.client.call('workspace_run', { command: 'echo back' }))).toContain('back')
  await call.client[Symbol.asyncDispose]()
}, 120_000)

for (const [what, withdraw] of [
  ['its rule is taken away', async () => await dev.apply((text) => text.replace(wayOut, ''))],
  ['its person leaves', async () => void (await dev.newcomer('leave', { as: 'alice' }))],
] as const) {
  test(`invariant 5: a live request through the egress proxy ends when ${what}`, async () => {
    await dev.apply((text) => text)
    const client = await connectV1(dev.ready.mcp, await dev.token('alice'))
    const { orders } = JSON.parse(await readFile(join(dev.folder, 'ports.json'), 'utf8')) as {
      orders: number
    }
    // In the background, so that it is the tunnel that ends and not the call. The body goes on for a minute.
    const mark = `upload-${randomUUID()}`
    const program = `
      import { setTimeout } from "node:timers/promises"
      async function* body() { yield "{"; for (let i = 0; i < 600; i++) { await setTimeout(100); yield " " } }
      await fetch("https://orders.crib.test:${orders}/v1/orders", { method: "POST", duplex: "half",
        headers: { "content-type": "application/json" }, body: ReadableStream.from(body()) })`
    await client.call('workspace_write_file', { path: `${mark}.mjs`, content: program })
    await client.call('workspace_run', { command: `setsid node ${mark}.mjs >said 2>&1 & echo` })
    const uploading = async () =>
      (await processes()).filter(({ commandLine }) => commandLine.startsWith(`node ${mark}.mjs`)).length
    await until(async () => (await uploading()) === 1).catch(async () => {
      throw new Error(textOf(await client.call('workspace_read_file', { path: 'said' })))
    })
    // It is on its way for a while, so that what ends it is what follows.
    await new Promise((resolve) => setTimeout(resolve, 1_500))
    expect(await uploading()).toBe(1)
    await withdraw()
    const answered = performance.now()
    await until(async () => (await uploading()) === 0, 10_000)
    const ms = performance.now() - answered
    process.stderr.write(`    the request ended ${Math.round(ms)} ms after\n`)
    expect(ms).toBeLessThan(limitMs)
    await client[Symbol.asyncDispose]()
  }, 120_000)
}

function admin(body: object) {
  return {
    method: 'POST',
    headers: { authorization: `Bearer ${dev.ready.adminKey}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  }
}
