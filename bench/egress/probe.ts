import type { Socket } from 'node:net'
import { askForTunnel, dial, secure, type Target } from './wire.ts'

/** What came back for bytes written by hand. */
export interface Told {
  /** Where it ended. */
  at: 'connect' | 'handshake' | 'request'
  status: string
  text: string
  /** Milliseconds from the request to the first `event` in a body. */
  firstEventMs?: number
}

/** Writes `raw` inside a tunnel to `target`, or straight to the proxy, and reads for as long as anything comes. */
export async function probe(target: Target, raw: string, inTunnel: boolean): Promise<Told> {
  const socket = await dial(target)
  socket.on('error', () => undefined)
  if (!inTunnel) return await exchange(socket, raw)
  const status = await askForTunnel(socket, target).catch((error: unknown) => String(error))
  if (!status.startsWith('HTTP/1.1 200')) {
    socket.destroy()
    return { at: 'connect', status, text: status }
  }
  try {
    return await exchange(await secure(socket, target.ca, target.host, true), raw)
  } catch (error) {
    socket.destroy()
    return { at: 'handshake', status: String(error), text: String(error) }
  }
}

async function exchange(socket: Socket, raw: string): Promise<Told> {
  const start = performance.now()
  let text = ''
  let firstEventMs: number | undefined
  await new Promise<void>((resolve) => {
    const limit = setTimeout(resolve, 3_000)
    let quiet: NodeJS.Timeout | undefined
    const end = () => {
      clearTimeout(limit)
      clearTimeout(quiet)
      resolve()
    }
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1')
      if (/"event":0/.test(text)) firstEventMs ??= performance.now() - start
      clearTimeout(quiet)
      quiet = setTimeout(end, 250)
    })
    socket.on('error', end)
    socket.on('close', end)
    socket.write(raw, 'latin1')
  })
  socket.destroy()
  const status = text === '' ? 'closed without an answer' : text.slice(0, text.indexOf('\r\n'))
  return { at: 'request', status, text, ...(firstEventMs === undefined ? {} : { firstEventMs }) }
}
