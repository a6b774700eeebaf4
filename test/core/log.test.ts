import { expect, test } from 'vitest'
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
