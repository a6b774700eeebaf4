import type { Server } from 'node:http'
import { join } from 'node:path'
import type { Live } from '../leases/live.ts'
import { fromMachine, fromNetwork } from './caller.ts'
import type { Front } from './front.ts'
import { closeServer, type ListenOptions, listenTcp, listenUnix, socketName } from './listening.ts'

/**
 * Listens where it is told to, and adds to `listeningAt` the address that can be dialled, until `stack` ends that and
 * all that is under way.
 */
export async function openDoors(options: {
  stack: AsyncDisposableStack
  front: Front
  live: Live
  at: ListenOptions
  listeningAt: { address: string; port: number }[]
}): Promise<{ socketPath: string | undefined; tcpPort: number | undefined }> {
  const { stack, front, live } = options
  const { unixSocketDir, tcpHost, tcpPort } = options.at
  const servers: Server[] = []
  stack.defer(async () => {
    live.close()
    await Promise.all(servers.map(closeServer))
  })
  if (unixSocketDir !== undefined) {
    const server = front.makeOuter(fromMachine)
    servers.push(server)
    const socket = await listenUnix(server, unixSocketDir)
    stack.defer(() => socket.close())
  }
  let port: number | undefined
  if (tcpHost !== undefined) {
    const server = front.makeOuter(fromNetwork)
    servers.push(server)
    const at = await listenTcp(server, tcpHost, tcpPort ?? 0)
    options.listeningAt.push({ address: at.address, port: at.port })
    port = at.port
  }
  return {
    socketPath: unixSocketDir === undefined ? undefined : join(unixSocketDir, socketName),
    tcpPort: port,
  }
}
