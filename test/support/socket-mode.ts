import { createHash } from 'node:crypto'
import { createServer } from 'node:http'
import type { Duplex } from 'node:stream'

/**
 * Slack's side of Socket Mode: `apps.connections.open` and the WebSocket it names; every other call goes on to
 * `upstream`. Where it lies: no pings, no reconnects, one connection, frames below 64 KiB in one piece.
 */
export async function startSocketMode(upstream: string): Promise<{
  apiUrl: string
  connected: Promise<void>
  /** Sends an envelope; the acknowledgement's payload, or undefined when none came within `withinMs`. */
  deliver(type: 'events_api' | 'slash_commands', payload: unknown, withinMs?: number): Promise<unknown>
  [Symbol.asyncDispose](): Promise<void>
}> {
  let link: Duplex | undefined
  let envelopes = 0
  const waiting = new Map<string, (payload: unknown) => void>()
  const opened = Promise.withResolvers<void>()
  const server = createServer((request, response) => {
    const method = (request.url ?? '').split('/').at(-1) ?? ''
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      if (method === 'apps.connections.open') {
        const url = `ws://${request.headers.host ?? ''}/link`
        return response.end(JSON.stringify({ ok: true, url }))
      }
      fetch(`${upstream}${method}`, {
        method: 'POST',
        headers: {
          authorization: request.headers.authorization ?? '',
          'content-type': request.headers['content-type'] ?? '',
        },
        body: Buffer.concat(chunks),
      })
        .then(async (answer) => response.end(await answer.text()))
        .catch(() => request.socket.destroy())
    })
  })
  server.on('upgrade', (request, socket) => {
    const accept = createHash('sha1')
      .update(`${request.headers['sec-websocket-key'] ?? ''}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
      .digest('base64')
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: ${accept}\r\n\r\n`,
    )
    link = socket
    socket.on('error', () => undefined)
    let rest = Buffer.alloc(0)
    socket.on('data', (chunk: Buffer) => {
      rest = Buffer.concat([rest, chunk])
      for (let frame = readFrame(rest); frame !== undefined; frame = readFrame(rest)) {
        rest = rest.subarray(frame.length)
        if (frame.opcode !== 1) continue
        const message = JSON.parse(frame.text) as { envelope_id: string; payload?: unknown }
        waiting.get(message.envelope_id)?.(message.payload ?? {})
      }
    })
    sendText(socket, { type: 'hello', num_connections: 1 })
    opened.resolve()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')

  return {
    apiUrl: `http://127.0.0.1:${address.port}/api/`,
    connected: opened.promise,
    async deliver(type, payload, withinMs = 5_000) {
      const id = `envelope-${++envelopes}`
      const acknowledged = new Promise((resolve) => {
        waiting.set(id, resolve)
        setTimeout(() => resolve(undefined), withinMs).unref()
      })
      if (link !== undefined)
        sendText(link, {
          envelope_id: id,
          type,
          payload,
          accepts_response_payload: type === 'slash_commands',
        })
      return await acknowledged
    },
    async [Symbol.asyncDispose]() {
      link?.destroy()
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

function sendText(socket: Duplex, value: unknown): void {
  const body = Buffer.from(JSON.stringify(value))
  const head =
    body.length < 126
      ? Buffer.from([0x81, body.length])
      : Buffer.from([0x81, 126, body.length >> 8, body.length & 0xff])
  socket.write(Buffer.concat([head, body]))
}

/** The first whole frame of a client (always masked), or undefined when more bytes are needed. */
function readFrame(bytes: Buffer): { opcode: number; text: string; length: number } | undefined {
  if (bytes.length < 2) return undefined
  const short = bytes.readUInt8(1) & 0x7f
  const start = short === 126 ? 4 : 2
  if (bytes.length < start + 4) return undefined
  const size = short === 126 ? bytes.readUInt16BE(2) : short
  const length = start + 4 + size
  if (bytes.length < length) return undefined
  const mask = bytes.subarray(start, start + 4)
  const body = Buffer.from(bytes.subarray(start + 4, length))
  for (let i = 0; i < body.length; i++) body[i] = body.readUInt8(i) ^ mask.readUInt8(i % 4)
  return { opcode: bytes.readUInt8(0) & 0x0f, text: body.toString('utf8'), length }
}
