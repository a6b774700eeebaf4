import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type AnswerListener, AnswerParser } from '../../src/egress/upstream/answer-parser.ts'

interface Read {
  heads: { status: number; rawHeaders: string[]; keepAlive: boolean }[]
  bodies: string[]
  trailers: string[][]
  rest: string | undefined
  error: string | undefined
  begun: number
}

/** Reads `pieces` one after the other and then the end, as a connection's answers to GET. */
function readAll(pieces: Buffer[], maxHeadBytes = 32 * 1024): Read {
  const read: Read = { heads: [], bodies: [], trailers: [], rest: undefined, error: undefined, begun: 0 }
  let body = ''
  const listener: AnswerListener = {
    begun: () => void (read.begun += 1),
    head(head) {
      read.heads.push(head)
      if (head.status === 101) return 'protocol'
      return head.status < 200 || head.status === 204 || head.status === 304 ? 'answer' : 'body'
    },
    body: (part) => void (body += part.toString('latin1')),
    complete(trailers) {
      read.bodies.push(body)
      read.trailers.push(trailers)
      body = ''
    },
  }
  const parser = new AnswerParser(listener, maxHeadBytes)
  try {
    for (const piece of pieces) {
      if (read.rest !== undefined) read.rest += piece.toString('latin1')
      else read.rest = parser.read(piece)?.toString('latin1')
    }
    if (read.rest === undefined) parser.finish()
  } catch (error) {
    // Anything else than a broken rule is a mistake of ours.
    if ((error as Error).name !== 'AnswerError') throw error
    read.error = (error as { code: string }).code
  } finally {
    parser.free()
  }
  return read
}

const bytes = (text: string) => Buffer.from(text, 'latin1')

function cut(whole: Buffer, at: readonly number[]): Buffer[] {
  const borders = [0, ...at.map((n) => n % (whole.length + 1)).toSorted((a, b) => a - b), whole.length]
  return borders.slice(1).map((border, i) => whole.subarray(borders[i], border))
}

const token = fc.stringMatching(/^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,12}$/)
const value = fc.stringMatching(
  /^(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]{0,20}[\x21-\x7e\x80-\xff])?)?$/,
)
const named = /^(?:content-length|transfer-encoding|connection|keep-alive|upgrade|proxy-connection)$/i
const fields = fc.array(
  fc.tuple(token, value).filter(([name]) => !named.test(name)),
  { maxLength: 6 },
)
const written = (pairs: [string, string][]) => pairs.map(([name, text]) => `${name}: ${text}\r\n`).join('')
const chunk = fc.string({ unit: 'binary-ascii', minLength: 1, maxLength: 40 })

const answer = fc.oneof(
  fc.record({ pairs: fields, body: chunk }).map(({ pairs, body }) => ({
    text: `HTTP/1.1 200 OK\r\n${written(pairs)}Content-Length: ${body.length}\r\n\r\n${body}`,
    rawHeaders: [...pairs.flat(), 'Content-Length', String(body.length)],
    body,
    trailers: [] as string[],
  })),
  fc
    .record({ pairs: fields, chunks: fc.array(chunk), trailers: fields })
    .map(({ pairs, chunks, trailers }) => ({
      text: `HTTP/1.1 404 \r\n${written(pairs)}Transfer-Encoding: chunked\r\n\r\n${chunks
        .map((one) => `${one.length.toString(16)}\r\n${one}\r\n`)
        .join('')}0\r\n${written(trailers)}\r\n`,
      rawHeaders: [...pairs.flat(), 'Transfer-Encoding', 'chunked'],
      body: chunks.join(''),
      trailers: trailers.flat(),
    })),
  fields.map((pairs) => ({
    text: `HTTP/1.1 204 No Content\r\n${written(pairs)}\r\n`,
    rawHeaders: pairs.flat(),
    body: '',
    trailers: [] as string[],
  })),
)

test('answers are read the same however they are cut into pieces, field by field and byte by byte', () => {
  fc.assert(
    fc.property(fc.array(answer, { minLength: 1, maxLength: 4 }), fc.array(fc.nat()), (answers, at) => {
      const read = readAll(cut(bytes(answers.map(({ text }) => text).join('')), at))
      expect(read.error).toBeUndefined()
      expect(read.heads.map(({ rawHeaders }) => rawHeaders)).toEqual(answers.map((each) => each.rawHeaders))
      expect(read.heads.every(({ keepAlive }) => keepAlive)).toBe(true)
      expect(read.bodies).toEqual(answers.map(({ body }) => body))
      expect(read.trailers).toEqual(answers.map((each) => each.trailers))
    }),
    { numRuns: 500 },
  )
})

test('bytes that are changed are read the same whole and in pieces, or refused', () => {
  fc.assert(
    fc.property(
      fc.array(answer, { minLength: 1, maxLength: 3 }),
      fc.array(fc.tuple(fc.nat(), fc.constantFrom('\r', '\n', '\0', ' ', ':', '0', 'f', ';', '\x80')), {
        minLength: 1,
        maxLength: 4,
      }),
      fc.array(fc.nat()),
      (answers, changes, at) => {
        const whole = bytes(answers.map(({ text }) => text).join(''))
        for (const [where, what] of changes) whole.write(what, where % whole.length, 'latin1')
        expect(readAll(cut(whole, at))).toEqual(readAll([whole]))
      },
    ),
    { numRuns: 1_000 },
  )
})

test.each([
  ['two lengths', 'Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc', 'HPE_UNEXPECTED_CONTENT_LENGTH'],
  [
    'a length beside chunks',
    'Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n',
    'HPE_INVALID_CONTENT_LENGTH',
  ],
  ['a folded line', 'A: b\r\n c\r\n\r\n', 'HPE_INVALID_HEADER_TOKEN'],
  ['a space before the colon', 'A : b\r\n\r\n', 'HPE_INVALID_HEADER_TOKEN'],
  ['NUL in a value', 'A: b\0c\r\n\r\n', 'HPE_INVALID_HEADER_TOKEN'],
  ['a line that ends in LF alone', 'A: b\n\r\n', 'HPE_CR_EXPECTED'],
  [
    'a chunk size in disguise',
    'Transfer-Encoding: chunked\r\n\r\n0x2\r\nab\r\n0\r\n\r\n',
    'HPE_INVALID_CHUNK_SIZE',
  ],
  ['a chunk longer than it says', 'Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n', 'HPE_STRICT'],
  ['an end in the middle', 'Content-Length: 5\r\n\r\nabc', 'HPE_INVALID_EOF_STATE'],
])('%s is no answer', (_, rest, code) => {
  expect(readAll([bytes(`HTTP/1.1 200 OK\r\n${rest}`)]).error).toBe(code)
})

test('white space around a value is not of it, and an empty one is one', () => {
  const [head] = readAll([bytes('HTTP/1.1 204 x\r\nA:  b \t\r\nB:\r\nC: \r\nD:e\r\n\r\n')]).heads
  expect(head?.rawHeaders).toEqual(['A', 'b', 'B', '', 'C', '', 'D', 'e'])
})

test('a head larger than it may be is refused before it is whole, and each answer has room for its own', () => {
  const head = `HTTP/1.1 204 x\r\nA: ${'a'.repeat(60)}\r\n\r\n`
  expect(readAll([bytes(head.repeat(5))], 80).error).toBeUndefined()
  expect(readAll([bytes(`HTTP/1.1 204 x\r\nA: ${'a'.repeat(80)}`)], 80).error).toBe('HPE_HEADER_OVERFLOW')
  expect(readAll([bytes(`HTTP/1.1 204 ${'x'.repeat(81)}`)], 80).error).toBe('HPE_HEADER_OVERFLOW')
})

test.each([
  ['space before a value', 'HTTP/1.1 200 OK\r\nA:', ' ', 'b\r\nContent-Length: 0\r\n\r\n'],
  ['line ends before an answer', '', '\r\n', 'HTTP/1.1 204 x\r\n\r\n'],
  ['words of a chunk', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;', 'a', '\r\nb\r\n0\r\n\r\n'],
])(
  '%s that nobody is told of end the reading once they are longer than a head',
  (_, before, unit, behind) => {
    const read = (pieces: number) =>
      readAll([before, ...Array<string>(pieces).fill(unit.repeat(10)), behind].map(bytes), 80).error
    expect([read(3), read(9)]).toEqual([undefined, 'HPE_HEADER_OVERFLOW'])
  },
)

test('what follows a change of protocol is given back untouched', () => {
  const read = readAll(
    cut(bytes('HTTP/1.1 101 x\r\nUpgrade: y\r\nConnection: upgrade\r\n\r\nGET / \0'), [20, 50]),
  )
  expect([read.heads[0]?.status, read.rest, read.error]).toEqual([101, 'GET / \0', undefined])
})

test('an answer has begun with its first byte, and white space before it is none', () => {
  const whole = 'HTTP/1.1 204 x\r\n\r\n'
  expect(readAll([bytes(whole)]).begun).toBe(1)
  expect(readAll([bytes(`${whole}\r\n`)]).begun).toBe(1)
  expect(readAll([bytes(`${whole}H`)]).begun).toBe(2)
  expect(readAll([bytes(whole), bytes('\r\nHTTP/1.1 2')]).begun).toBe(2)
})

test('a body without a length ends with its connection, which is then good for nothing', () => {
  const read = readAll([bytes('HTTP/1.1 200 OK\r\n\r\nab'), bytes('cd')])
  expect([read.bodies, read.heads[0]?.keepAlive, read.error]).toEqual([['abcd'], false, undefined])
})
