import { randomInt } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { nasty, startTestToolhost, type TestToolhost } from './toolhost-process.ts'

const tick = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

/** Processes whose command line or environment names this toolhost's own folder, or that `ppid` leads to. */
function descendants(root: number): number[] {
  const parents = new Map<number, number>()
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'latin1')
      const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
      if (state !== 'Z') parents.set(Number(name), Number(parent))
    } catch {
      // gone meanwhile
    }
  }
  const found = new Set([root])
  for (let size = 0; size !== found.size; ) {
    size = found.size
    for (const [pid, parent] of parents) if (found.has(parent)) found.add(pid)
  }
  found.delete(root)
  return [...found]
}

/** Pids that sleep with this exact argument, wherever they hang in the tree. */
function sleepers(seconds: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      try {
        return readFileSync(`/proc/${name}/cmdline`, 'latin1') === `sleep\0${seconds}\0`
      } catch {
        return false
      }
    })
    .map(Number)
}

async function cancelAfter(host: TestToolhost, ms: number, source: string, tool: string, args = {}) {
  const stop = new AbortController()
  const call = host.call(source, tool, args, { signal: stop.signal })
  await tick(ms)
  const start = performance.now()
  stop.abort()
  return { answer: await call, took: performance.now() - start }
}

test('a cancelled call ends within a second with every process of its source, wherever they hid', async () => {
  await using host = await startTestToolhost()
  // A length of its own: other tests of the same minute sleep too, and end when they like.
  const seconds = randomInt(100_000, 1_000_000)
  await host.put('nasty')
  const pid = Number(await host.text('nasty', 'pid'))
  const stop = new AbortController()
  const call = host.call('nasty', 'fork', { seconds }, { signal: stop.signal })
  await expect.poll(() => sleepers(seconds).length, { timeout: 5_000 }).toBe(7)
  const start = performance.now()
  stop.abort()
  const answer = await call
  const took = performance.now() - start
  expect(answer).toMatchObject({
    type: 'failed',
    code: 'call_cancelled',
    message: 'the call was cancelled',
  })
  expect(sleepers(seconds)).toEqual([])
  expect(descendants(host.pid)).not.toContain(pid)
  expect(took).toBeLessThan(1_000)
  expect(Number(await host.text('nasty', 'pid'))).not.toBe(pid)
})

test('a source that ignores TERM is killed', async () => {
  await using host = await startTestToolhost()
  await host.put('stubborn', [nasty, 'stubborn'])
  await host.text('stubborn', 'pid')
  const { answer, took } = await cancelAfter(host, 300, 'stubborn', 'hang')
  expect(answer).toMatchObject({ type: 'failed', code: 'call_cancelled', message: 'the call was cancelled' })
  expect(took).toBeLessThan(1_500)
})

test('a source that answers a cancelled call itself is kept', async () => {
  await using host = await startTestToolhost()
  await host.put('polite', [nasty, 'polite'])
  const pid = await host.text('polite', 'pid')
  await cancelAfter(host, 100, 'polite', 'hang')
  expect(await host.text('polite', 'pid')).toBe(pid)
})

test('cancelling one call does not end another on the same source, and the source is restarted after it', async () => {
  await using host = await startTestToolhost()
  await host.put('nasty')
  const pid = Number(await host.text('nasty', 'pid'))
  const other = host.call('nasty', 'slow', { ms: 1_500 })
  const { answer } = await cancelAfter(host, 100, 'nasty', 'hang')
  expect(answer).toMatchObject({ code: 'call_cancelled', message: expect.stringContaining('restarted when') })
  expect(Number(await host.text('nasty', 'pid'))).not.toBe(pid)
  expect(await other).toMatchObject({ type: 'result' })
  await expect.poll(() => descendants(host.pid).includes(pid)).toBe(false)
})

test('a source that is deaf after a cancellation is ended with its other calls', async () => {
  await using host = await startTestToolhost({ times: { unresponsive: 500 } })
  await host.put('deaf', [nasty, 'deaf'])
  await host.text('deaf', 'pid')
  const other = host.call('deaf', 'slow', { ms: 20_000 })
  await cancelAfter(host, 300, 'deaf', 'hang')
  expect(await other).toMatchObject({ type: 'failed', code: 'source_failed' })
})

test('a call past its time limit ends as timed out, and the next call works', async () => {
  await using host = await startTestToolhost()
  await host.put('nasty')
  await host.text('nasty', 'pid')
  expect(await host.call('nasty', 'spin', {}, { timeoutMs: 200 })).toMatchObject({
    type: 'failed',
    code: 'call_timed_out',
    message: expect.stringContaining('0.2 s'),
  })
  expect(await host.text('nasty', 'echo', { text: 'next' })).toBe('next')
})

test('the start of a source is no part of its call’s time', async () => {
  await using host = await startTestToolhost()
  await host.put('late', [nasty, 'late'])
  expect(await host.call('late', 'pid', {}, { timeoutMs: 1_500 })).toMatchObject({ type: 'result' })
})

test('a source killed in mid-call is told within 100 ms, and the next call works', async () => {
  await using host = await startTestToolhost()
  await host.put('nasty')
  const times: number[] = []
  for (let round = 0; round < 5; round += 1) {
    const pid = Number(await host.text('nasty', 'pid'))
    const call = host.call('nasty', 'hang')
    await tick(100)
    const start = performance.now()
    process.kill(pid, 'SIGKILL')
    const answer = await call
    times.push(performance.now() - start)
    expect(answer).toMatchObject({
      type: 'failed',
      code: 'source_crashed',
      message: 'source "nasty" was ended by SIGKILL',
    })
  }
  expect(await host.text('nasty', 'echo', { text: 'next' })).toBe('next')
  // The fastest of five: what it takes, not what else this machine is doing.
  expect(Math.min(...times)).toBeLessThan(100)
})

test('a source that exits or aborts in mid-call says how', async () => {
  await using host = await startTestToolhost()
  await host.put('nasty')
  expect(await host.call('nasty', 'crash')).toMatchObject({ message: 'source "nasty" exited with code 7' })
  expect(await host.call('nasty', 'abort')).toMatchObject({ message: 'source "nasty" was ended by SIGABRT' })
})

test('a source that crashes again and again is held back, says why, and is let go on later', async () => {
  await using host = await startTestToolhost()
  await host.put('nasty')
  for (let i = 0; i < 3; i += 1) await host.call('nasty', 'crash')
  const held = await host.call('nasty', 'echo', { text: 'too early' })
  expect(held).toMatchObject({ type: 'refused', code: 'source_failed', frames: [] })
  expect(held).toMatchObject({
    message: expect.stringMatching(/3 times in a row.*exited with code 7.*in 1 s/),
  })
  await tick(1_050)
  expect(await host.text('nasty', 'echo', { text: 'later' })).toBe('later')
})

test('a source with an argument that no program can be given is refused, and so are its calls', async () => {
  await using host = await startTestToolhost()
  await expect(host.put('zero', ['a\0b'])).rejects.toThrow('no program can be started with')
  expect(await host.call('zero', 'echo')).toMatchObject({ type: 'refused', code: 'source_failed' })
})

test('a source that cannot start is refused with the reason, its own words kept for admins', async () => {
  await using host = await startTestToolhost({ times: { start: 2_000 } })
  await host.put('die', [nasty, 'die'])
  await host.put('mute', [nasty, 'mute'])
  await host.put('absent', [], { command: '/nowhere/at-all' })
  const reasons = { die: 'exited with code 3', mute: 'did not answer "initialize"', absent: 'was not found' }
  for (const [source, reason] of Object.entries(reasons)) {
    const answer = await host.call(source, 'echo')
    expect(answer).toMatchObject({ type: 'refused', code: 'source_failed', frames: [] })
    expect(answer).toMatchObject({ message: expect.stringContaining(reason) })
    expect(JSON.stringify(answer)).not.toContain('configuration')
  }
  const inspected = await host.client.inspectSource(host.dial, 'die', {
    expect: host.expect,
    signal: AbortSignal.timeout(5_000),
  })
  expect(inspected).toMatchObject({
    type: 'ok',
    source: { state: 'failed', stderr: expect.stringContaining('cannot find my configuration') },
  })
})

test('a source of the same digest is left alone, one of another is restarted when its calls are through', async () => {
  await using host = await startTestToolhost()
  await host.put('nasty')
  const pid = await host.text('nasty', 'pid')
  await host.put('nasty')
  expect(await host.text('nasty', 'pid')).toBe(pid)
  const running = host.call('nasty', 'slow', { ms: 400 })
  await tick(50)
  await host.put('nasty', [nasty], { digest: 'new', environment: { NEW: 'yes' } })
  expect(JSON.parse(await host.text('nasty', 'environment'))).toMatchObject({ NEW: 'yes' })
  expect(await running).toMatchObject({ type: 'result' })
  await expect.poll(() => descendants(host.pid).length).toBe(1)
})

test('drain refuses new calls, lets a short one end, cancels a long one and leaves no process', async () => {
  await using host = await startTestToolhost({ times: { drain: 500 } })
  await host.put('nasty')
  await host.text('nasty', 'pid')
  const short = host.call('nasty', 'slow', { ms: 300 })
  const long = host.call('nasty', 'hang')
  await tick(100)
  const children = descendants(host.pid)
  const start = performance.now()
  await host.client.drain(host.dial, { expect: host.expect, signal: AbortSignal.timeout(5_000) })
  expect(await host.call('nasty', 'echo')).toMatchObject({ type: 'refused', code: 'draining' })
  expect(await short).toMatchObject({ type: 'result' })
  expect(await long).toMatchObject({ type: 'failed', code: 'call_cancelled' })
  expect(await host.exited).toBe(0)
  expect(performance.now() - start).toBeLessThan(5_000)
  expect(children.filter((pid) => sleepersAlive(pid))).toEqual([])
})

test('TERM drains as well', async () => {
  await using host = await startTestToolhost()
  await host.put('nasty')
  const pid = Number(await host.text('nasty', 'pid'))
  process.kill(host.pid, 'SIGTERM')
  expect(await host.exited).toBe(0)
  expect(sleepersAlive(pid)).toBe(false)
})

function sleepersAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

test('an idle source ends by itself at a drain, so that Node keeps what it compiled for the next start', async () => {
  await using host = await startTestToolhost()
  await host.put('nasty')
  await host.text('nasty', 'pid')
  process.kill(host.pid, 'SIGTERM')
  expect(await host.exited).toBe(0)
  const kept = readdirSync(join(host.home, '.cache/node-compile'), { recursive: true, encoding: 'utf8' })
  // A folder for this version of Node, and in it what was compiled.
  expect(kept.some((name) => name.includes('/'))).toBe(true)
})
