import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { processes } from '../support/processes.ts'
import { until } from '../support/until.ts'
import { checkout, startTestToolhost, type TestToolhost } from '../toolhost/toolhost-process.ts'

async function startWorkspace(): Promise<TestToolhost> {
  const host = await startTestToolhost()
  await host.put('workspace', [join(checkout, 'sources/workspace/server.ts')])
  return host
}

async function answer(host: TestToolhost, tool: string, args: Record<string, unknown>) {
  const ending = await host.call('workspace', tool, args)
  if (ending.type !== 'result') throw new Error(JSON.stringify(ending))
  const [block] = ending.result['content'] as { text: string }[]
  return { text: block?.text ?? '', isError: ending.result['isError'] === true }
}

/** The processes with exactly this command line: without a sandbox they are the machine's. */
async function running(command: string): Promise<number[]> {
  return (await processes()).flatMap(({ pid, commandLine }) => (commandLine.trim() === command ? [pid] : []))
}

test('a file that was written can be read, listed and used by a command', async () => {
  await using host = await startWorkspace()
  await answer(host, 'write_file', { path: 'notes/today.txt', content: 'one\n' })
  await answer(host, 'write_file', { path: 'notes/today.txt', content: 'two\n', append: true })
  expect(await readFile(join(host.home, 'notes/today.txt'), 'utf8')).toBe('one\ntwo\n')
  expect((await answer(host, 'read_file', { path: 'notes/today.txt' })).text).toBe('one\ntwo\n')
  expect((await answer(host, 'list_files', { path: 'notes' })).text).toMatch(/^ +8 {2}today.txt$/)
  expect((await answer(host, 'list_files', {})).text).toContain('notes/')
  const run = await answer(host, 'run', {
    command: 'wc -l <today.txt; echo oops >&2; exit 3',
    folder: 'notes',
  })
  expect(run).toEqual({ text: 'exit code 3\n--- stdout\n2\n\n--- stderr\noops\n', isError: true })
})

test('no path leads out of the home, by dots, from the root, or through links', async () => {
  await using host = await startWorkspace()
  await symlink('/etc', join(host.home, 'etc'))
  await symlink('/tmp/not-there-yet', join(host.home, 'dangling'))
  await mkdir(join(host.home, 'inner'))
  await symlink('inner', join(host.home, 'fine'))
  for (const path of ['../x', '/etc/hostname', 'etc/hostname', 'a/../../x', 'dangling', 'etc/new/file']) {
    for (const [tool, more] of [
      ['read_file', {}],
      ['write_file', { content: 'x' }],
      ['list_files', {}],
    ] as const)
      expect(await answer(host, tool, { path, ...more })).toMatchObject({ isError: true })
  }
  expect(await answer(host, 'run', { command: 'true', folder: '..' })).toMatchObject({ isError: true })
  expect((await answer(host, 'write_file', { path: 'fine/ok', content: 'x' })).isError).toBe(false)
})

test('long output and long files are cut at 256 KiB with a marker', async () => {
  await using host = await startWorkspace()
  const run = await answer(host, 'run', { command: 'echo begin; yes | head -c 1000000; echo end' })
  expect(run.text).toMatch(/begin[\s\S]*\n\[… 737866 bytes left out …\]\n[\s\S]*end\n$/)
  expect(run.text.length).toBeLessThan(263_000)
  await writeFile(join(host.home, 'long'), 'x'.repeat(300_000))
  const first = await answer(host, 'read_file', { path: 'long' })
  expect(first.text).toContain('read on with offset 262144')
  expect((await answer(host, 'read_file', { path: 'long', offset: 262_144 })).text.length).toBe(37_856)
})

test('a command past its time is stopped with all that it started, and its output so far is kept', async () => {
  await using host = await startWorkspace()
  const run = await answer(host, 'run', { command: 'echo started; sleep 301 & sleep 301', timeoutSeconds: 1 })
  expect(run).toEqual({ text: 'stopped after 1 s\n--- stdout\nstarted\n', isError: true })
  expect(await running('sleep 301')).toEqual([])
})

test('a cancelled command is gone when the cancellation is answered, and its neighbour goes on', async () => {
  await using host = await startWorkspace()
  const neighbour = answer(host, 'run', { command: 'sleep 2; echo neighbour' })
  const stop = new AbortController()
  const call = host.call('workspace', 'run', { command: 'sleep 302 & sleep 302' }, { signal: stop.signal })
  await until(async () => (await running('sleep 302')).length === 2)
  stop.abort()
  expect(await call).toMatchObject({ type: 'failed', code: 'call_cancelled' })
  expect(await running('sleep 302')).toEqual([])
  expect((await neighbour).text).toContain('neighbour')
})

test('a running command tells its newest line as progress', async () => {
  await using host = await startWorkspace()
  const { frames } = await host.call('workspace', 'run', {
    command: 'echo one; sleep 0.5; echo two; sleep 0.3',
  })
  const lines = frames.flatMap((frame) => (frame.type === 'progress' ? [frame.message] : []))
  expect(lines).toEqual(['one', 'two'])
})

test('every tool says by its annotations whether it changes anything', async () => {
  await using host = await startWorkspace()
  await host.put('orders', [join(checkout, 'sources/orders/server.ts')])
  for (const source of ['workspace', 'orders']) {
    const list = await host.client.listTools(host.dial, source, {
      expect: host.expect,
      signal: AbortSignal.timeout(10_000),
    })
    if (list.type !== 'ok') throw new Error(list.message)
    for (const tool of list.tools)
      expect(tool['annotations']).toMatchObject({ readOnlyHint: expect.any(Boolean) })
  }
})
