import { randomBytes } from 'node:crypto'
import { chmod, lstat, mkdir, readdir, rename, rm } from 'node:fs/promises'
import type { Server } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { AppError } from '../../core/index.ts'

/** Where the proxy listens: a unix socket in a directory of its own, an address, or both. */
export interface ListenOptions {
  unixSocketDir?: string | undefined
  tcpHost?: string | undefined
  tcpPort?: number | undefined
}

export const socketName = 'proxy.sock'

/** How long one that starts waits for another that starts at the same place to give way. */
const giveWayMs = 5_000

/**
 * Listens at `proxy.sock` in `dir`. A socket that somebody answers on, or is too busy to, is left alone and throws
 * `conflict`, and so does what cannot be tried; one left by a dead process is replaced in one step, so that sandboxes
 * never find half a socket.
 */
export async function listenUnix(server: Server, dir: string): Promise<{ close(): Promise<void> }> {
  await mkdir(dir, { recursive: true, mode: 0o755 })
  const path = join(dir, socketName)
  await assertNobodyListens(path)
  const mark = `.${socketName}.`
  const name = `${mark}${randomBytes(4).toString('hex')}`
  const fresh = join(dir, name)
  await listening(server, () => server.listen(fresh))
  // Of two that start together each has looked before the other listened: the later name gives way, and the earlier
  // waits until it has, or until it stands at the place after all.
  for (const other of await readdir(dir)) {
    if (!other.startsWith(mark) || other === name) continue
    if (other < name) await assertNobodyListens(join(dir, other))
    else await untilNobodyListens(join(dir, other))
  }
  await assertNobodyListens(path)
  // Whoever can reach it still needs a lease; a sandbox may run as another user.
  await chmod(fresh, 0o666)
  const mine = await lstat(fresh)
  await rename(fresh, path)
  return {
    async close() {
      const now = await lstat(path).catch(() => undefined)
      if (now?.ino === mine.ino) await rm(path, { force: true })
    },
  }
}

/** Listens on an address; port 0 picks a free one, which is returned. */
export async function listenTcp(server: Server, host: string, port: number): Promise<AddressInfo> {
  await listening(server, () => server.listen({ host, port }))
  return server.address() as AddressInfo
}

/** Takes no more connections and ends those there are, also what Node no longer counts among the server's: tunnels. */
export async function closeServer(server: Server): Promise<void> {
  if (!server.listening) return
  const closed = new Promise((resolve) => server.close(resolve))
  server.closeAllConnections()
  for (const socket of accepted.get(server) ?? []) socket.destroy()
  await closed
}

/** The connections of each server that listens. */
const accepted = new WeakMap<Server, Set<Socket>>()

async function listening(server: Server, start: () => void): Promise<void> {
  const sockets = new Set<Socket>()
  accepted.set(server, sockets)
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  await new Promise<void>((resolve, reject) => {
    const fail = (cause: Error) =>
      reject(
        new AppError(
          'conflict',
          `the egress proxy cannot listen (${(cause as NodeJS.ErrnoException).code})`,
          {
            cause,
          },
        ),
      )
    server.once('error', fail)
    server.once('listening', () => {
      server.removeListener('error', fail)
      resolve()
    })
    start()
  })
}

/** The code of the error that an attempt to connect ends with; empty where somebody answers. */
async function tryToReach(path: string): Promise<string> {
  return await new Promise<string>((resolve) => {
    const probe = connect(path)
    probe.once('connect', () => {
      probe.destroy()
      resolve('')
    })
    probe.once('error', (err: NodeJS.ErrnoException) => resolve(err.code ?? err.message))
  })
}

const nobodyListens = (code: string) => code === 'ENOENT' || code === 'ECONNREFUSED'

/** Throws `conflict` when somebody still does after a while. */
async function untilNobodyListens(path: string): Promise<void> {
  const deadline = performance.now() + giveWayMs
  while (!nobodyListens(await tryToReach(path)) && performance.now() < deadline) await sleep(20)
  await assertNobodyListens(path)
}

/** Throws `conflict` unless it is certain that nobody does. */
async function assertNobodyListens(path: string): Promise<void> {
  const code = await tryToReach(path)
  if (nobodyListens(code)) return
  // EAGAIN: somebody listens, and has as many waiting as may wait.
  const found =
    code === '' || code === 'EAGAIN'
      ? `another egress proxy listens on ${path}; stop it or use another directory`
      : `it cannot be told whether another egress proxy listens on ${path} (${code}); remove it where none does, or use another directory`
  throw new AppError('conflict', found)
}
