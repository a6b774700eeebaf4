import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, rm, symlink } from 'node:fs/promises'
import { createServer } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { closeServer, listenUnix } from '../../src/egress/traffic/listening.ts'
import { until } from '../support/until.ts'

/** A directory for sockets, and what comes of listening in it. */
async function makePlace() {
  const dir = await mkdtemp(join(tmpdir(), 'toolcrib-listen-'))
  const server = createServer()
  return {
    dir,
    path: join(dir, 'proxy.sock'),
    listen: () => listenUnix(server, dir),
    async [Symbol.asyncDispose]() {
      await closeServer(server)
      await rm(dir, { recursive: true, force: true })
    },
  }
}

test('a proxy that lives and is too busy to take a connection keeps its socket', async () => {
  await using place = await makePlace()
  // It listens, takes nothing, and has room for three that wait. A process of its own, since it stands still: it prints
  // when it listens, because from then on it can be asked nothing.
  const script = `require('node:net').createServer().listen({ path: process.argv[1], backlog: 2 }, () => {
    console.log('listening')
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
  })`
  const busy = spawn(process.execPath, ['-e', script, place.path])
  const ended = once(busy, 'exit')
  const codes: (string | undefined)[] = []
  const waiting = new Set<ReturnType<typeof connect>>()
  try {
    await once(busy.stdout, 'data')
    await until(() => {
      const one = connect(place.path).on('error', (err: NodeJS.ErrnoException) => codes.push(err.code))
      waiting.add(one)
      return codes.length > 0
    })
    expect(codes).toContain('EAGAIN')
    await expect(place.listen()).rejects.toThrow(/^another egress proxy listens/)
  } finally {
    for (const one of waiting) one.destroy()
    busy.kill('SIGKILL')
    await ended
  }
})

test('a socket that cannot be tried is left alone', async () => {
  await using place = await makePlace()
  await symlink('proxy.sock', place.path)
  await expect(place.listen()).rejects.toThrow(
    /cannot be told whether another egress proxy listens on .* \(ELOOP\)/,
  )
})

test('a proxy that ends leaves the socket of the one that took its place', async () => {
  await using place = await makePlace()
  const mine = await place.listen()
  await rm(place.path)
  const next = createServer()
  const theirs = await listenUnix(next, place.dir)
  await mine.close()
  const found = connect(place.path)
  await expect(once(found, 'connect')).resolves.toEqual([])
  found.destroy()
  await theirs.close()
  await closeServer(next)
})

test('of proxies that start at the same place together one listens, and the others are told', async () => {
  await using place = await makePlace()
  const servers = Array.from({ length: 5 }, () => createServer())
  const started = await Promise.allSettled(
    servers.map(async (server) => {
      try {
        return await listenUnix(server, place.dir)
      } catch (err) {
        await closeServer(server)
        throw err
      }
    }),
  )
  const refused = started.filter((each) => each.status === 'rejected')
  expect(refused.map(({ reason }) => String(reason))).toEqual(
    Array.from({ length: 4 }, () => expect.stringContaining('another egress proxy listens')),
  )
  expect(await readdir(place.dir)).toEqual(['proxy.sock'])
  await Promise.all(servers.map(closeServer))
})
