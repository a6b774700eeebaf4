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
