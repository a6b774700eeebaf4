import { head, open, readAnswer, type Target } from './wire.ts'

const block = Buffer.alloc(64 * 1024, 'a')

/** Fetches `mebibytes` and throws them away, counting; milliseconds. */
export async function down(target: Target, mebibytes: number): Promise<number> {
  const socket = await open(target)
  const start = performance.now()
  const count = countBody()
  const wanted = mebibytes * 2 ** 20
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject)
    socket.once('close', () => reject(new Error(`it ended after ${count.bytes()} bytes`)))
    socket.on('data', (chunk: Buffer) => {
      count.take(chunk)
      if (count.bytes() >= wanted) resolve()
    })
    socket.write(head(target, `/down/${mebibytes}`))
  })
  socket.removeAllListeners().destroy()
  if (count.bytes() !== wanted) throw new Error(`${count.bytes()} bytes instead of ${wanted}`)
  return performance.now() - start
}

/** Counts the letters of the body, which is all `a`: framing between chunks has none, but for sizes in hexadecimal. */
function countBody() {
  let total = 0
  let isInBody = false
  let left = 0
  let line = ''
  let isChunked = false
  const takeChunked = (chunk: Buffer) => {
    for (let at = 0; at < chunk.length; ) {
      if (left > 0) {
        const part = Math.min(left, chunk.length - at)
        if (chunk[at] === 0x61 && chunk[at + part - 1] === 0x61) total += part
        left -= part
        at += part
        continue
      }
      const letter = String.fromCharCode(chunk[at++] ?? 0)
      if (letter !== '\n') line += letter
      else {
        if (line.trim() !== '') left = Number.parseInt(line, 16)
        line = ''
      }
    }
  }
  const takeBody = (chunk: Buffer) => {
    if (isChunked) return takeChunked(chunk)
    if (chunk.length === 0 || (chunk[0] === 0x61 && chunk.at(-1) === 0x61)) total += chunk.length
  }
  return {
    bytes: () => total,
    take(chunk: Buffer) {
      if (isInBody) return takeBody(chunk)
      const end = chunk.indexOf('\r\n\r\n')
      if (end === -1) throw new Error('a head in pieces')
      const text = chunk.toString('latin1', 0, end)
      if (!text.startsWith('HTTP/1.1 200')) throw new Error(text)
      isChunked = /transfer-encoding: *chunked/i.test(text)
      isInBody = true
      takeBody(chunk.subarray(end + 4))
    },
  }
}

/** Sends `mebibytes` and has them counted at the other end; milliseconds. */
export async function up(target: Target, mebibytes: number): Promise<number> {
  const socket = await open(target)
  const start = performance.now()
  const answered = new Promise<string>((resolve, reject) => {
    let got = Buffer.alloc(0)
    socket.once('error', reject)
    socket.once('close', () => reject(new Error('it ended in the middle')))
    socket.on('data', (chunk: Buffer) => {
      got = Buffer.concat([got, chunk])
      const answer = readAnswer(got)
      if (answer !== undefined) resolve(answer.body.toString('latin1'))
    })
  })
  answered.catch(() => undefined)
  const bytes = mebibytes * 2 ** 20
  socket.write(head(target, '/up', 'POST', `Content-Length: ${bytes}\r\n`))
  for (let sent = 0; sent < bytes; sent += block.length) {
    if (!socket.write(block))
      await Promise.race([new Promise((resolve) => socket.once('drain', resolve)), answered])
  }
  const text = await answered
  socket.removeAllListeners().destroy()
  if (text !== JSON.stringify({ bytes })) throw new Error(`${text} instead of ${bytes}`)
  return performance.now() - start
}
