import fc from 'fast-check'
import { expect, test } from 'vitest'
import { denialBody, denialSentence, printable } from '../../src/egress/decision/denial.ts'
import { askedRaw } from '../../src/egress/traffic/deny.ts'

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
      const body = denialBody(denial, { method: asked.method, url })
      expect(body.replaceAll('’', "'").slice(0, -1)).toMatch(oneLine)
      expect(JSON.parse(body)).toMatchObject({ host: asked.host })
    }),
    { numRuns: 500 },
  )
})
