import fc from 'fast-check'
import { expect, test } from 'vitest'
import { runnerName } from '../../src/runners/name.ts'

const label = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/
const text = fc.oneof(fc.string({ unit: 'grapheme' }), fc.string({ unit: 'binary' }), fc.string())
const owner = fc.record({ slackTeam: text, slackUser: text, name: text })
const nameOf = (person: { slackTeam: string; slackUser: string; name: string }) =>
  runnerName({ kind: 'person', ...person })

test('every name is a valid RFC 1123 label that leaves room for suffixes', () => {
  fc.assert(
    fc.property(owner, (person) => {
      const name = nameOf(person)
      expect(name).toMatch(label)
      expect(name.length).toBeLessThanOrEqual(39)
      expect(name).toMatch(/^r-(?:[a-z0-9-]{1,20}-)?[0-9a-f]{16}$/)
    }),
    { numRuns: 2_000 },
  )
})

test('different people have different names, even with the same display name', () => {
  fc.assert(
    fc.property(owner, owner, (one, other) => {
      const isSame = one.slackTeam === other.slackTeam && one.slackUser === other.slackUser
      expect(nameOf(one) === nameOf({ ...other, name: one.name })).toBe(isSame)
    }),
    { numRuns: 2_000 },
  )
})

test('what one id loses another gains, and the names still differ', () => {
  expect(nameOf({ slackTeam: 'T1', slackUser: 'U2', name: 'a' })).not.toBe(
    nameOf({ slackTeam: 'T1U', slackUser: '2', name: 'a' }),
  )
})

test.each([
  ['', 'r-'],
  ['--', 'r-'],
  ['日本', 'r-'],
  ['Zoë--O’Neil', 'r-zoe-o-neil-'],
  ['ALICE', 'r-alice-'],
  ['x'.repeat(200), `r-${'x'.repeat(20)}-`],
  [`${'x'.repeat(19)} y`, `r-${'x'.repeat(19)}-`],
])('the display name %j begins the name with %j', (name, prefix) => {
  expect(nameOf({ slackTeam: 'T1', slackUser: 'U1', name })).toMatch(new RegExp(`^${prefix}[0-9a-f]{16}$`))
})

test('the system principal has a name that no person can have', () => {
  expect(runnerName({ kind: 'system' })).toBe('r-system')
  fc.assert(fc.property(owner, (person) => nameOf(person) !== 'r-system'))
})
