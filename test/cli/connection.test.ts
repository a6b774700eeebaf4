import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { freePort } from '../../src/core/index.ts'
import { startAdmin } from '../support/admin.ts'
import { cli } from '../support/cli.ts'

async function folder() {
  const path = await mkdtemp(join(tmpdir(), 'toolcrib-cli-'))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true }) }
}

/** A web server that is not Toolcrib, and the keys that it was sent. */
async function stranger(answer: RequestListener) {
  const keys: (string | undefined)[] = []
  const server = createServer((request, response) => {
    keys.push(request.headers.authorization)
    answer(request, response)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    keys,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

const key = `tca_${'0'.repeat(12)}_${'x'.repeat(49)}`

test('the server is found by options, else the environment, else the file that npm run dev left', async () => {
  await using admin = await startAdmin()
  await using dir = await folder()
  const keyFile = join(dir.path, 'key')
  await writeFile(keyFile, `${admin.key}\n`, { mode: 0o600 })
  const connectionFile = join(dir.path, 'connection.json')
  await writeFile(connectionFile, JSON.stringify({ url: `${admin.url}/admin/v1`, adminKey: admin.key }))
  const wrong = { url: 'http://127.0.0.1:9', adminKey: key }
  const argv = ['people', 'list']
  const ok = { code: 0, err: '' }
  expect(
    await cli([...argv, '--url', admin.url, '--key-file', keyFile], { environment: wrong }),
  ).toMatchObject(ok)
  const environment = { url: `${admin.url}/`, adminKeyFile: keyFile }
  expect(await cli(argv, { environment, connectionFile: '/nowhere' })).toMatchObject(ok)
  expect(await cli(argv, { connectionFile })).toMatchObject(ok)
  expect(await cli([...argv, '--url', admin.url], { connectionFile })).toMatchObject(ok)
  await chmod(keyFile, 0o644)
  expect((await cli([...argv, '--url', admin.url, '--key-file', keyFile])).err).toContain('chmod 600')
})

test('the key of the connection file is not sent to another server', async () => {
  await using other = await stranger((_, response) => response.end('{}'))
  await using dir = await folder()
  const connectionFile = join(dir.path, 'connection.json')
  await writeFile(connectionFile, JSON.stringify({ url: 'http://127.0.0.1:9', adminKey: key }))
  const refused = await cli(['people', 'list', '--url', other.url], { connectionFile })
  expect(refused).toMatchObject({
    code: 2,
    err: expect.stringContaining(`No admin key was given for ${other.url}`),
  })
  expect(other.keys).toEqual([])
})

test('a redirect is not followed, so that the key stays where it was sent', async () => {
  await using target = await stranger((_, response) => response.end('{"people":[]}'))
  await using first = await stranger((_, response) =>
    response.writeHead(307, { location: `${target.url}/` }).end(),
  )
  const answer = await cli(['people', 'list'], { environment: { url: first.url, adminKey: key } })
  expect(answer.code).toBe(3)
  expect(target.keys).toEqual([])
})

test('nobody there, somebody else there, and no server named are told apart', async () => {
  const nobody = { url: `http://127.0.0.1:${await freePort()}`, adminKey: key }
  expect(await cli(['people', 'list'], { environment: nobody })).toEqual({
    code: 3,
    out: '',
    err: `toolcrib: There is no Toolcrib to be reached at ${nobody.url} (ECONNREFUSED): start it, or name another with --url.\n`,
  })
  await using other = await stranger((_, response) => response.writeHead(502).end('<html>bad gateway</html>'))
  const somebody = await cli(['people', 'list'], { environment: { url: other.url, adminKey: key } })
  expect(somebody).toMatchObject({ code: 3, err: expect.stringContaining('is not this version of Toolcrib') })
  expect(await cli(['people', 'list'])).toMatchObject({
    code: 2,
    err: expect.stringContaining('TOOLCRIB_URL'),
  })
  // A production server leaves no file to look for.
  expect(await cli(['people', 'list'], { connectionFile: '/nowhere/connection.json' })).toMatchObject({
    code: 2,
    err: expect.stringMatching(/, or run this where `npm run dev` has left \/nowhere\/connection\.json\.$/m),
  })
})

test('a wrong key is refused by the server, a text that is no key already here', async () => {
  await using admin = await startAdmin()
  const refused = await cli(['people', 'list'], { environment: { url: admin.url, adminKey: key } })
  expect(refused).toMatchObject({ code: 4, out: '' })
  for (const adminKey of ['', 'tcb_0_x', `${key}\nx`, 'hunter2']) {
    const local = await cli(['people', 'list'], { environment: { url: admin.url, adminKey } })
    expect(local).toMatchObject({ code: 2, out: '' })
    expect(local.err).not.toContain('hunter2')
  }
})

test('wrong addresses and damaged files are told without showing a key', async () => {
  await using dir = await folder()
  for (const url of ['nonsense', 'ftp://x', 'https://user:hunter2@x']) {
    expect(await cli(['people', 'list'], { environment: { url, adminKey: key } })).toMatchObject({ code: 2 })
  }
  const connectionFile = join(dir.path, 'connection.json')
  await writeFile(connectionFile, `{"adminKey":"${key}"`)
  const damaged = await cli(['people', 'list'], { connectionFile })
  expect(damaged).toMatchObject({ code: 2, err: expect.stringContaining('is damaged') })
  expect(damaged.err).not.toContain(key)
  const missing = ['people', 'list', '--url', 'http://127.0.0.1:9', '--key-file', join(dir.path, 'none')]
  expect(await cli(missing)).toMatchObject({ code: 2, err: expect.stringContaining('ENOENT') })
})
