import { setTimeout as sleep } from 'node:timers/promises'
import type { TLSSocket } from 'node:tls'
import { answerBody } from './names.ts'
import { head, open, readAnswer, type Target } from './wire.ts'

/** Closed loop on one connection: sends the next request when the last was answered, rightly, as long as `more`. */
function loop(
  socket: TLSSocket,
  target: Target,
  times: number[],
  more: (done: number) => boolean,
): Promise<void> {
  return new Promise((resolve, reject) => {
    let n = 0
    let sent = 0
    let kept: Buffer | undefined
    const send = () => {
      n = Math.floor(Math.random() * 1e9)
      sent = performance.now()
      socket.write(head(target, `/json/${n}`), 'latin1')
    }
    socket.on('data', (chunk: Buffer) => {
      const bytes = kept === undefined ? chunk : Buffer.concat([kept, chunk])
      const answer = readAnswer(bytes)
      kept = answer === undefined ? bytes : undefined
      if (answer === undefined) return
      times.push(performance.now() - sent)
      if (
        answer.status !== 200 ||
        answer.end !== bytes.length ||
        answer.body.toString('latin1') !== answerBody(n)
      )
        reject(new Error(`a wrong answer: ${bytes.toString('latin1', 0, 400)}`))
      else if (more(times.length)) send()
      else resolve()
    })
    const broken = () => reject(new Error('the connection ended in the middle'))
    socket.once('error', broken)
    socket.once('close', broken)
    send()
  })
}

async function once(target: Target): Promise<void> {
  const socket = await open(target)
  try {
    await loop(socket, target, [], () => false)
  } finally {
    socket.destroy()
  }
}

// All of these answer with the milliseconds that each took.

/** `count` requests one after the other on one tunnel, after 300 uncounted ones. */
export async function sequential(target: Target, count: number): Promise<number[]> {
  const socket = await open(target)
  const warm: number[] = []
  await loop(socket, target, warm, (done) => done < 300)
  socket.removeAllListeners()
  const times: number[] = []
  await loop(socket, target, times, (done) => done < count)
  socket.removeAllListeners().destroy()
  return times
}

/** Requests on all of `tunnels` at once; those of the first quarter of `seconds` are in `requests` only. */
export async function parallel(
  target: Target,
  tunnels: number,
  seconds: number,
): Promise<{ times: number[]; elapsedMs: number; requests: number }> {
  const sockets = await Promise.all(Array.from({ length: tunnels }, () => open(target)))
  const forMs = async (ms: number) => {
    const start = performance.now()
    const times = sockets.map((): number[] => [])
    await Promise.all(
      sockets.map((socket, at) =>
        loop(socket, target, times[at] ?? [], () => performance.now() < start + ms),
      ),
    )
    for (const socket of sockets) socket.removeAllListeners()
    return { times: times.flat(), elapsedMs: performance.now() - start }
  }
  const before = await forMs(seconds * 250)
  const counted = await forMs(seconds * 1_000)
  for (const socket of sockets) socket.destroy()
  return { ...counted, requests: before.times.length + counted.times.length }
}

/** A tunnel, a handshake and one request, over and over; with `hosts`, one to each of them. */
export async function newTunnels(target: Target, count: number, hosts: string[] = []): Promise<number[]> {
  const times: number[] = []
  for (let n = 0; n < count; n++) {
    const start = performance.now()
    await once({ ...target, host: hosts[n] ?? target.host })
    times.push(performance.now() - start)
  }
  return times
}

/**
 * From the request to the first event of a stream whose next comes 100 ms later. Each is read to its end, so that its
 * connection to the upstream is there for the next one, whoever keeps it; an uncounted one goes before.
 */
export async function firstEvent(target: Target, path: string, count: number): Promise<number[]> {
  const times: number[] = []
  for (let n = 0; n <= count; n++) {
    const socket = await open(target)
    const start = performance.now()
    let got = ''
    let first: number | undefined
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject)
      socket.once('close', () => reject(new Error(`the stream broke off: ${got}`)))
      socket.on('data', (chunk: Buffer) => {
        got += chunk.toString('latin1')
        if (first === undefined && /event"?[ :]0/.test(got)) first = performance.now() - start
        if (got.endsWith('\r\n0\r\n\r\n')) resolve()
      })
      socket.write(head(target, path))
    })
    socket.removeAllListeners().destroy()
    if (n > 0) times.push(first ?? Number.NaN)
  }
  return times
}

/** Opens tunnels and lets them idle until `release`. */
export async function idle(target: Target, count: number): Promise<{ release(): void }> {
  const sockets: TLSSocket[] = []
  while (sockets.length < count)
    sockets.push(...(await Promise.all(Array.from({ length: 20 }, () => open(target)))))
  for (const socket of sockets) socket.on('error', () => undefined)
  await sleep(500)
  const dead = sockets.filter(({ destroyed }) => destroyed).length
  if (dead > 0) throw new Error(`${dead} of ${count} idle tunnels were closed`)
  return {
    release: () => {
      for (const socket of sockets) socket.destroy()
    },
  }
}
