import { expect, test } from 'vitest'
import { nasty, startTestToolhost } from './toolhost-process.ts'

test('stray lines on standard output are passed over and counted', async () => {
  await using host = await startTestToolhost()
  await host.put('banner', [nasty, 'banner'])
  expect(await host.text('banner', 'rubbish')).toBe('after rubbish')
  const inspected = await host.client.inspectSource(host.dial, 'banner', {
    expect: host.expect,
    signal: AbortSignal.timeout(5_000),
  })
  expect(inspected).toMatchObject({ source: { state: 'running', strayLines: 6 } })
})

test('a flood of stray output ends the source, and the next call works', async () => {
  await using host = await startTestToolhost()
  await host.put('nasty')
  expect(await host.call('nasty', 'flood')).toMatchObject({
    type: 'failed',
    code: 'source_invalid_output',
    message: expect.stringContaining('not JSON-RPC'),
  })
  expect(await host.text('nasty', 'echo', { text: 'next' })).toBe('next')
})

test('a line without end ends the source, and the next call works', async () => {
  await using host = await startTestToolhost({ limits: { lineBytes: 1_000_000 } })
  await host.put('nasty')
  expect(await host.call('nasty', 'line', { bytes: 2_000_000 })).toMatchObject({
    type: 'failed',
    code: 'source_invalid_output',
    message: expect.stringContaining('1000000 bytes'),
  })
  expect(await host.text('nasty', 'echo', { text: 'next' })).toBe('next')
})

test('a result over the limit is too large, and the source lives on', async () => {
  await using host = await startTestToolhost({ limits: { resultBytes: 1_000_000 } })
  await host.put('nasty')
  const pid = await host.text('nasty', 'pid')
  expect(await host.call('nasty', 'huge', { bytes: 2_000_000 })).toMatchObject({
    type: 'failed',
    code: 'too_large',
    message: expect.stringContaining('at most 1000000'),
  })
  expect(await host.text('nasty', 'pid')).toBe(pid)
  expect((await host.text('nasty', 'huge', { bytes: 900_000 })).length).toBe(900_000)
})

test('a source that floods standard error is not blocked, and only the end is kept', async () => {
  await using host = await startTestToolhost()
  await host.put('nasty')
  expect(await host.text('nasty', 'stderr', { times: 20_000 })).toBe('still here')
  const read = async () => {
    const inspected = await host.client.inspectSource(host.dial, 'nasty', {
      expect: host.expect,
      signal: AbortSignal.timeout(5_000),
    })
    return inspected.type === 'ok' ? inspected.source.stderr : ''
  }
  await expect.poll(read).toContain(' 19999\n')
  expect((await read()).length).toBeLessThanOrEqual(16 * 1024)
})

test('what a source asks of us is answered: pings are, everything else is declined', async () => {
  await using host = await startTestToolhost()
  await host.put('nasty')
  await host.text('nasty', 'ask')
  const heard = async () => JSON.parse(await host.text('nasty', 'heard')) as unknown[]
  expect(await heard()).toEqual(
    expect.arrayContaining([
      { id: 'r1', error: -32601 },
      { id: 'r2', result: {} },
    ]),
  )
})

test('invariant 1: a source’s environment holds what it was given and nothing of the toolhost’s own', async () => {
  await using host = await startTestToolhost()
  await host.put('nasty', [nasty], { environment: { PLACEHOLDER: 'sk-not-a-key' } })
  const environment = JSON.parse(await host.text('nasty', 'environment')) as Record<string, string>
  expect(Object.keys(environment).sort()).toEqual([
    'HOME',
    'LANG',
    'NODE_COMPILE_CACHE',
    'PATH',
    'PLACEHOLDER',
    'TMPDIR',
    'TOOLCRIB_SOURCE_RUN',
  ])
  expect(environment['HOME']).toBe(host.home)
})
