import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, onTestFinished, test } from 'vitest'
import { AppError, createLog, Secret } from '../../src/core/index.ts'

function logged(fields: object): Record<string, unknown> {
  let line = ''
  createLog({ level: 'debug', name: 'test' }, { write: (text: string) => void (line += text) }).warn(
    fields,
    'said',
  )
  return JSON.parse(line) as Record<string, unknown>
}

test('an error is logged with what is plain about it, not with the client or request that hangs on it', () => {
  const client = { password: 'hunter2', secretKey: 7, socket: { token: 'hunter2' } }
  const err = Object.assign(
    new Error('connection lost', { cause: Object.assign(new Error('below'), { client }) }),
    {
      code: 'ECONNRESET',
      client,
      options: { headers: { authorization: 'Bearer hunter2' } },
    },
  )
  const line = logged({ err })
  expect(JSON.stringify(line)).not.toContain('hunter2')
  expect(line['err']).toMatchObject({
    code: 'ECONNRESET',
    message: 'connection lost',
    cause: { message: 'below' },
  })
})

test('details of our own errors and secrets that will not print stay as they are', () => {
  const line = logged({
    err: new AppError('conflict', 'twice', { details: { name: 'a' } }),
    key: new Secret('hunter2'),
  })
  expect(line['err']).toMatchObject({ code: 'conflict', message: 'twice', details: { name: 'a' } })
  expect(line['key']).toBe('[secret]')
})

test('lines of JSON text have the level, the time and the fields of their log, and leave in one write', () => {
  const writes: string[] = []
  const log = createLog({ level: 'info', name: 'test' }, { write: (text: string) => void writes.push(text) })
  log.child({ part: 'a "b"' }).lines(['"n":1', '"n":2,"path":"/\\n"'], 'said')
  log.lines(['"n":3'], 'said')
  log.lines([], 'said')
  expect(writes).toHaveLength(2)
  const lines = writes.join('').trimEnd().split('\n')
  const expected = { level: 30, time: expect.any(Number) as number, name: 'test', msg: 'said' }
  expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual([
    { ...expected, part: 'a "b"', n: 1 },
    { ...expected, part: 'a "b"', n: 2, path: '/\n' },
    { ...expected, n: 3 },
  ])
  const quiet = createLog({ level: 'warn', name: 'test' }, { write: () => expect.unreachable() })
  quiet.lines(['"n":1'], 'said')
})

/**
 * In a process of its own, whose standard error is exchanged for a full disk, and that again for a file; its standard
 * output is what is left to say that it went on.
 */
const onFullDisk = `
import { closeSync, openSync } from 'node:fs'
import { createLog } from ${JSON.stringify(new URL('../../src/core/log.ts', import.meta.url).href)}
const standardError = (path) => (closeSync(2), openSync(path, 'a'))
const [file, lines] = process.argv.slice(1)
const log = createLog({ level: 'info', name: 'egress' })
standardError('/dev/full')
for (let i = 0; i < Number(lines); i += 1) log.info({ i, filler: 'x'.repeat(1_000) }, 'said on a full disk')
standardError(file)
log.info({}, 'there is room')
log.info({}, 'the last line')
console.log('it went on')
`

test.each([
  ['few lines all come later', 10, 0],
  ['of many the first do, and how many were lost is told', 3_000, 1_000],
])('a disk that is full ends nobody who logs: %s', async (_, lines, lostAtLeast) => {
  const folder = await mkdtemp(join(tmpdir(), 'toolcrib-log-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  const file = join(folder, 'log')
  const args = ['--input-type=module', '-e', onFullDisk, file, String(lines)]
  const { stdout } = await promisify(execFile)(process.execPath, args)
  expect(stdout).toBe('it went on\n')
  const said = (await readFile(file, 'utf8')).trim().split('\n')
  const parsed = said.map((line) => JSON.parse(line) as { i?: number; msg: string; lost?: number })
  const kept = parsed.flatMap(({ i }) => (i === undefined ? [] : [i]))
  expect(kept).toEqual(kept.map((_i, at) => at))
  const lost = parsed.find(({ msg }) => msg === 'lines of the log were lost')?.lost ?? 0
  expect(lost).toBeGreaterThanOrEqual(lostAtLeast)
  expect(kept.length + lost).toBe(lines)
  expect(parsed.map(({ msg }) => msg).filter((msg) => / line$|room/.test(msg))).toEqual([
    'there is room',
    'the last line',
  ])
})
