import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type Ask, parseAsk } from '../../src/slack/commands.ts'

const minute = 60_000
const hour = 60 * minute
const day = 24 * hour
const limits = { maxLifetimeMs: 30 * day }
const command = (text: string) => parseAsk(text, 'command', limits)
const conversation = (text: string) => parseAsk(text, 'conversation', limits)

test.each<[string, Ask]>([
  ['', { verb: 'issue' }],
  ['7d', { verb: 'issue', lifetimeMs: 7 * day }],
  ['  12H  Orders ', { verb: 'issue', lifetimeMs: 12 * hour, toolkit: 'orders' }],
  ['7 days orders', { verb: 'issue', lifetimeMs: 7 * day, toolkit: 'orders' }],
  ['2 weeks', { verb: 'issue', lifetimeMs: 14 * day }],
  ['orders', { verb: 'issue', toolkit: 'orders' }],
  ['`30 min`', { verb: 'issue', lifetimeMs: 30 * minute }],
  ['list', { verb: 'list' }],
  ['help', { verb: 'help' }],
  ['revoke tok_0123456789ab', { verb: 'revoke', tokenId: 'tok_0123456789ab' as never }],
  ['rotate `0123456789ab`', { verb: 'rotate', tokenId: 'tok_0123456789ab' as never }],
])('the command “%s” is understood', (text, ask) => {
  expect(command(text)).toEqual(ask)
})

test.each<[string, Ask]>([
  ['mcp-token', { verb: 'issue' }],
  ['/mcp-token 1h', { verb: 'issue', lifetimeMs: hour }],
  ['<@U0CR1B0B0T> mcp-token orders', { verb: 'issue', toolkit: 'orders' }],
  ['<@U0CR1B0B0T|toolcrib>, List', { verb: 'list' }],
  ['', { verb: 'help' }],
])('in a conversation “%s” is understood', (text, ask) => {
  expect(conversation(text)).toEqual(ask)
})

test.each(['hello', 'orders', '7d', 'thanks!', 'the list please'])(
  'small talk like “%s” makes no token',
  (text) => {
    expect(conversation(text)).toMatchObject({ verb: 'invalid' })
  },
)

test.each([
  ['31d', 'The longest lifetime allowed is 30 days.'],
  ['0d', 'The shortest lifetime is 5 minutes.'],
  ['7d orders now', 'at most a duration and a toolkit'],
  ['7y', 'neither a duration'],
  ['Orders!x', 'neither a duration'],
  ['revoke', 'needs the id of a token'],
  ['revoke a b', 'takes one token id'],
  ['list all', 'takes nothing after it'],
])('“%s” is answered with what is wrong', (text, problem) => {
  const ask = command(text)
  expect(ask).toMatchObject({ verb: 'invalid', problem: expect.stringContaining(problem) })
})

/** What a sound ask must hold, whatever was typed. */
function soundness(ask: Ask): string {
  switch (ask.verb) {
    case 'invalid':
      return ask.given.length <= 80 ? 'sound' : 'says too much back'
    case 'issue': {
      const { lifetimeMs = day, toolkit = 'x' } = ask
      if (lifetimeMs < 5 * minute || lifetimeMs > limits.maxLifetimeMs) return 'lifetime out of bounds'
      return /^[a-z0-9-]{1,40}$/.test(toolkit) ? 'sound' : 'not a toolkit'
    }
    case 'revoke':
    case 'rotate':
      return /^tok_[0-9a-z]{4,40}$/.test(ask.tokenId) ? 'sound' : 'not an id'
    case 'list':
    case 'help':
      return 'sound'
  }
}

test('any text at all is an ask, with a lifetime within the limits, and what is said back is short', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string({ unit: 'binary' }),
        fc.string({ unit: fc.constantFrom('mcp-token', '7', 'd', ' ', 'revoke', '<@U1>', '`') }),
      ),
      fc.constantFrom('command' as const, 'conversation' as const),
      (text, where) => {
        const ask = parseAsk(text, where, limits)
        expect(soundness(ask)).toBe('sound')
      },
    ),
  )
})

test('invariant 1: a token pasted anywhere in a text is never said back', () => {
  const secret = 'S3cr3tS3cr3tS3cr3t'.toLowerCase()
  fc.assert(
    fc.property(
      fc.string(),
      fc.string(),
      fc.constantFrom('revoke ', 'mcp-token ', ''),
      (before, after, verb) => {
        const ask = command(`${verb}${before} tcb_0123456789ab_${secret}${after}`)
        expect(JSON.stringify(ask)).not.toContain(secret)
      },
    ),
  )
})
