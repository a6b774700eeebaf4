import { createServer } from 'node:net'
import { expect, inject, test } from 'vitest'
import { freePort, silentLog } from '../../src/core/index.ts'
import { joinDatabase, openDatabase } from '../../src/store/index.ts'

const stateDir = '/nowhere'

/** What a process is told that begins on `url`, whichever of the two ways it begins. */
async function refusal(url: string): Promise<{ code: string; message: string }> {
  const told = async (start: Promise<unknown>) =>
    await start.then(
      () => ({ code: '', message: 'it was let in' }),
      ({ code, message }: { code: string; message: string }) => ({ code, message }),
    )
  const opened = await told(openDatabase({ url, stateDir, log: silentLog }))
  expect(await told(joinDatabase({ url, stateDir }))).toEqual(opened)
  expect(opened.message).not.toContain('hunter2')
  return opened
}

test('a database that cannot be had is told with the setting, what was given but its password, and the cure', async () => {
  const real = new URL(inject('databaseUrl'))
  const { port } = real
  const closed = await freePort()
  expect(await refusal(`postgres://me:hunter2@127.0.0.1:${closed}/toolcrib`)).toEqual({
    code: 'unavailable',
    message: `DATABASE_URL: PostgreSQL at 127.0.0.1:${closed} does not answer; correct the address, or see to it that it runs`,
  })
  real.password = 'hunter2'
  expect(await refusal(real.href)).toEqual({
    code: 'forbidden',
    message: `DATABASE_URL: PostgreSQL at 127.0.0.1:${port} does not let postgres in; correct the user or the password`,
  })
  expect(await refusal(inject('databaseUrl').replace(/\/postgres$/, '/nowhere'))).toEqual({
    code: 'not_found',
    message: `DATABASE_URL: PostgreSQL at 127.0.0.1:${port} has no database nowhere; make it, or name another`,
  })
  expect(await refusal('postgres://me:hun#ter2@127.0.0.1:x/toolcrib')).toMatchObject({
    code: 'invalid_input',
    message: expect.stringMatching(/^DATABASE_URL cannot be read; write postgres:/),
  })
  // Something listens there, and it is no PostgreSQL.
  const other = createServer((socket) => socket.end('SSH-2.0\r\n'))
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
  const { port: taken } = other.address() as { port: number }
  expect(await refusal(`postgres://me:hunter2@127.0.0.1:${taken}/toolcrib`)).toMatchObject({
    code: 'unavailable',
  })
  other.close()
})
