import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createLog } from '../../src/core/index.ts'
import { denialBody, denialPhrase, denialSentence, printable } from '../../src/egress/decision/denial.ts'
import { logEnded, logRefusal } from '../../src/egress/records/line.ts'
import { askedRaw } from '../../src/egress/traffic/asked.ts'

// Every octet and more: what parsers let through, and what they should not have.
const said = fc.string({
  unit: fc.oneof(
    fc.integer({ min: 0, max: 0x2ff }).map((code) => String.fromCharCode(code)),
    fc.constantFrom('\u2028', '\u202e', '\ufeff', '\x1b[2J'),
  ),
  maxLength: 80,
})
const oneLine = /^[\x20-\x7e]*$/

test('row 41: nothing that a request says puts a line, a terminal’s command or a letter of another script into a record', () => {
  fc.assert(
    fc.property(said, said, said, fc.nat(40), (method, target, claimedHost, max) => {
      const asked = askedRaw({ method, target, claimedHost }, 'https')
      for (const text of [asked.method, asked.host, asked.path]) expect(text).toMatch(oneLine)
      expect(printable(target, max)).toMatch(oneLine)
      expect(printable(target, max).length).toBeLessThanOrEqual(max)
      const denial = {
        status: 400,
        reason: 'host_malformed',
        rule: 'request',
        host: asked.host,
        source: 'orders',
      } as const
      const url = `https://${asked.host}${asked.path}`
      expect(denialSentence(denial, { method: asked.method, url }).replaceAll('’', "'")).toMatch(oneLine)
      expect(denialPhrase(denial, { method: asked.method, url })).toMatch(oneLine)
      const body = denialBody(denial, { method: asked.method, url })
      expect(body.replaceAll('’', "'").slice(0, -1)).toMatch(oneLine)
      expect(JSON.parse(body)).toMatchObject({ host: asked.host })
    }),
    { numRuns: 500 },
  )
})

test.each([
  ['GET', 'http://bob:PASSWORD@a.example.com/x', 'http://a.example.com/x'],
  ['GET', 'http://bob@PASSWORD@a.example.com:80/x', 'http://a.example.com:80/x'],
  ['GET', 'http://bob:PASS/WORD@a.example.com/x', 'http://a.example.com/x'],
  ['GET', 'http://bob:PASS?WORD@a.example.com/x', 'http://a.example.com/x'],
  ['GET', '//bob:PASSWORD@a.example.com/x', '//a.example.com/x'],
  ['GET', '/\\bob:PASSWORD@a.example.com/x', '/\\a.example.com/x'],
  ['GET', 'bob:PASSWORD@a.example.com/x', 'a.example.com/x'],
  ['GET', 'http:/bob:PASSWORD@a.example.com/x', 'a.example.com/x'],
  ['GET', '/x#PASSWORD', '/x'],
  ['GET', '/x?a#PASSWORD', '/x'],
  ['GET', '/@scope/name', '/@scope/name'],
  ['GET', 'http://a.example.com/@scope/name', 'http://a.example.com/@scope/name'],
  ['GET', 'http://[::1]:80/@scope/name', 'http://[::1]:80/@scope/name'],
  ['CONNECT', 'bob:PASSWORD@a.example.com:443', ''],
  ['CONNECT', 'bob:PASS/?#WORD@a.example.com:443', ''],
])('row 15: of %s %s no password, query or fragment is written down', (method, target, path) => {
  const asked = askedRaw({ method, target, claimedHost: 'bob:PASSWORD@a.example.com:443#PASSWORD' }, 'https')
  expect(asked).toMatchObject({ method, host: 'a.example.com:443', path })
})

const facts = {
  requestId: 'egr_1',
  sourceId: 'orders',
  runnerId: null,
  generation: null,
  port: 443,
  rule: 'default',
  callIds: [],
}

test('row 41: a decision is one line of JSON whatever a request says, and no field of it is the request’s to choose', () => {
  fc.assert(
    fc.property(said, said, said, (method, target, claimedHost) => {
      const lines: string[] = []
      const log = createLog({ level: 'info', name: 'egress' }, { write: (line) => void lines.push(line) })
      const asked = askedRaw({ method, target, claimedHost }, 'https')
      logRefusal(log, {
        kind: 'egress.denied',
        data: { ...facts, ...asked, port: 443, reason: 'host_malformed' },
      })
      // Nor if what should be printable were not.
      const data = {
        ...facts,
        scheme: 'https',
        host: claimedHost,
        method,
        path: target,
        addressClass: 'public',
        credentials: [],
        outcome: { status: 200, bytesIn: 1, bytesOut: 2, redactions: 0, failure: null },
      }
      const ended = {
        event: { kind: 'egress.allowed', data },
        data: JSON.stringify(data),
        durationMs: 1,
      } as const
      logEnded(log, [ended, ended])
      const written = lines.join('').split('\n')
      expect(written.pop()).toBe('')
      expect(written).toHaveLength(3)
      for (const text of written) {
        // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
        expect(text).not.toMatch(/[\x00-\x1f]/)
        expect(JSON.parse(text)).toMatchObject({
          msg: 'egress decision',
          sourceId: 'orders',
          rule: 'default',
        })
      }
      expect(written[0]).toMatch(oneLine)
      for (const text of written.slice(1))
        expect(JSON.parse(text)).toMatchObject({ path: target, host: claimedHost, level: 30 })
    }),
    { numRuns: 500 },
  )
})
