import { request as ask } from 'node:http'
import { Duplex } from 'node:stream'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { AnswerParser } from '../../src/egress/upstream/answer-parser.ts'

/** One answer as a reader understood it; `whole` says whether it took it for one. */
interface Read {
  status: number
  rawHeaders: string[]
  body: string
  trailers: string[]
  whole: boolean
}

/** As `node:http`'s client reads it, from a connection that says these pieces and ends. */
function byNode(pieces: Buffer[]): Promise<Read> {
  const connection = new Duplex({
    read: () => undefined,
    write: (_chunk, _encoding, done) => {
      done()
      for (const piece of pieces) connection.push(piece)
      connection.push(null)
    },
  })
  const read: Read = { status: 0, rawHeaders: [], body: '', trailers: [], whole: false }
  return new Promise((resolve) => {
    const asked = ask({ createConnection: () => connection, maxHeaderSize: 32 * 1024 })
    asked.on('error', () => resolve(read))
    asked.on('response', (answer) => {
      read.status = answer.statusCode ?? 0
      read.rawHeaders = answer.rawHeaders
      answer.on('data', (part: Buffer) => (read.body += part.toString('latin1')))
      answer.on('error', () => undefined)
      answer.on('close', () =>
        resolve({ ...read, trailers: answer.complete ? answer.rawTrailers : [], whole: answer.complete }),
      )
    })
    asked.end()
  })
}

/** The same by the proxy's parser; more behind the answer is its fault, as it is for Node. */
function byProxy(pieces: Buffer[]): Read {
  const read: Read = { status: 0, rawHeaders: [], body: '', trailers: [], whole: false }
  let answered = false
  const parser = new AnswerParser(
    {
      begun() {
        if (read.whole) throw new Error('another answer')
      },
      head({ status, rawHeaders }) {
        if (status >= 100 && status < 200) return status === 101 ? 'protocol' : 'answer'
        answered = true
        read.status = status
        read.rawHeaders = rawHeaders
        return status === 204 || status === 304 ? 'answer' : 'body'
      },
      body: (part) => void (read.body += part.toString('latin1')),
      complete(trailers) {
        if (!answered) return
        read.whole = true
        read.trailers = trailers
      },
    },
    32 * 1024,
  )
  try {
    for (const piece of pieces) if (parser.read(piece) !== undefined) return read
    parser.finish()
  } catch {
    read.whole = false
  } finally {
    parser.free()
  }
  return read
}

const heads = [
  'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nA:  b \t\r\n\r\nhello',
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: T\r\n\r\n3;a=b\r\nhel\r\n2\r\nlo\r\n0\r\nT: late\r\n\r\n',
  'HTTP/1.1 200 \r\n\r\nto the end',
  'HTTP/1.0 404 Not Found\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nno',
  'HTTP/1.1 204 No Content\r\nA: b\r\n\r\n',
  'HTTP/1.1 304 x\r\nContent-Length: 9\r\n\r\n',
  'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok',
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n',
]
const odd = [
  '\r',
  '\n',
  '\r\n',
  '\0',
  ' ',
  '\t',
  ':',
  ';',
  ',',
  '0',
  '9',
  'f',
  'x',
  '-',
  '+',
  '\x7f',
  '\x80',
  '\xff',
  'Content-Length: 3\r\n',
  'Transfer-Encoding: chunked\r\n',
  'Transfer-Encoding : chunked\r\n',
  'Transfer-Encoding: \x0bchunked\r\n',
  'Content-Length: +5\r\n',
  ' folded\r\n',
  'ffffffffffffffff',
  '0\r\n\r\n',
]
// undici's build of llhttp is older than Node's, and takes these. Neither goes on: every answer is framed anew.
const older = /HTTP\/1[^\n]*\r\r|transfer-encoding:[ \t]*\r\n/i
const change = fc.record({ at: fc.nat(200), cut: fc.nat(6), put: fc.constantFrom('', ...odd) })

test('what is taken for a whole answer is one for node:http too and the same, whatever was done to it and however it is cut', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...heads),
      fc.array(change, { maxLength: 3 }),
      fc.array(fc.nat(200), { maxLength: 4 }),
      async (head, changes, cuts) => {
        let text = head
        for (const { at, cut, put } of changes) {
          const from = at % (text.length + 1)
          text = text.slice(0, from) + put + text.slice(from + cut)
        }
        const whole = Buffer.from(text, 'latin1')
        const borders = [
          0,
          ...cuts.map((n) => n % (whole.length + 1)).toSorted((a, b) => a - b),
          whole.length,
        ]
        const pieces = borders
          .slice(1)
          .map((border, i) => whole.subarray(borders[i], border))
          .filter(({ length }) => length > 0)
        const ours = byProxy(pieces)
        if (!ours.whole || older.test(text)) return
        expect(ours).toEqual(await byNode(pieces))
      },
    ),
    { numRuns: 10_000 },
  )
})
