/** An upstream by HTTP/2 whose frames are written by hand. Where it lies: it reads no head, and acknowledges nothing. */
import { createServer, type TLSSocket } from 'node:tls'
import type { World } from './egress-world.ts'
import { frame, frameType, type ReadFrame, readFrames } from './http2.ts'
import { byServerName, listenLocally } from './listening.ts'

/** A request that has come. */
export interface RawRequest {
  socket: TLSSocket
  /** The index of its connection, in the order in which they came. */
  connection: number
  stream: number
}

export interface RawHttp2 extends Disposable {
  port: number
  sockets: readonly TLSSocket[]
  /** How many requests came on each connection. */
  asked: readonly number[]
  /** All frames that came on a connection so far. */
  frames(connection: number): readonly ReadFrame[]
}

/** Tells of each request when its head has come; with `keepsOpen` it never closes its end of a connection. */
export async function startRawHttp2(
  world: World,
  tell: (request: RawRequest) => void | Promise<void>,
  { keepsOpen = false } = {},
): Promise<RawHttp2> {
  const sockets: TLSSocket[] = []
  const asked: number[] = []
  const came: ReadFrame[][] = []
  const options = { ...byServerName(world.upstreamContext), ALPNProtocols: ['h2'], allowHalfOpen: keepsOpen }
  const server = createServer(options, (socket) => {
    const connection = sockets.push(socket) - 1
    asked.push(0)
    socket.on('error', () => undefined)
    socket.write(frame(frameType.settings, 0, 0))
    const frames = readFrames(socket)
    came.push(frames)
    let read = 0
    socket.on('data', () => {
      for (const { type, stream } of frames.slice(read)) {
        if (type !== frameType.headers) continue
        asked[connection]! += 1
        void tell({ socket, connection, stream })
      }
      read = frames.length
    })
  })
  return {
    port: await listenLocally(server),
    sockets,
    asked,
    frames: (connection) => came[connection] ?? [],
    [Symbol.dispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
    },
  }
}
