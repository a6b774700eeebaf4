import fc from 'fast-check'
import { expect, test } from 'vitest'
import { decide, type Effect, explain, type Question } from '../../src/policy/index.ts'

const tool = {
  sourceId: 'orders',
  remoteName: 'list',
  acceptedDigest: 'd1',
  definitionDigest: 'd1',
  available: true,
  enabled: true,
}
const question: Question = {
  tool,
  source: { id: 'orders', enabled: true },
  toolkit: null,
  rules: [],
  caller: { toolkit: null },
}

test('an accepted tool that no rule speaks of is allowed, and the decision says so', () => {
  expect(decide(question)).toEqual({
    effect: 'allow',
    rule: 'accepted',
    reason: 'its definition was accepted',
  })
})

test('an allowed call names the written rule or toolkit that covers it', () => {
  const toolkit = { slug: 'support', tools: ['orders.*'] }
  expect(decide({ ...question, toolkit }).rule).toBe('toolkit support: orders.*')
  const rules = [{ tools: 'orders.list', do: 'allow' as const }]
  expect(decide({ ...question, toolkit, rules }).rule).toBe('rule 1: allow orders.list')
})

test.each([
  ['unknown', { tool: undefined }],
  ['unknown', { source: undefined }],
  ['unknown', { source: { id: 'other', enabled: true } }],
  ['source-disabled', { source: { id: 'orders', enabled: false } }],
  ['missing', { tool: { ...tool, available: false } }],
  ['disabled', { tool: { ...tool, enabled: false } }],
  ['unreviewed', { tool: { ...tool, acceptedDigest: null } }],
  ['changed', { tool: { ...tool, definitionDigest: 'd2' } }],
  ['toolkit-unknown', { toolkit: undefined }],
  ['toolkit support', { toolkit: { slug: 'support', tools: ['orders.create'] } }],
  ['token-toolkit', { caller: { toolkit: 'support' } }],
  ['rule 1: block orders.*', { rules: [{ tools: 'orders.*', do: 'block' as const }] }],
] satisfies [string, Partial<Question>][])('default deny: %s is blocked by that name', (rule, change) => {
  const decision = decide({ ...question, ...change })
  expect(decision).toMatchObject({ effect: 'block', rule })
  expect(decision.reason.length).toBeGreaterThan(10)
})

test('a toolkit with "*" still obeys the rules of the organisation', () => {
  const rules = [
    { tools: 'orders.list', do: 'allow' as const },
    { tools: '*', do: 'block' as const, reason: 'freeze until Monday' },
  ]
  expect(decide({ ...question, toolkit: { slug: 'all', tools: ['*'] }, rules })).toEqual({
    effect: 'block',
    rule: 'rule 2: block *',
    reason: 'freeze until Monday',
  })
})

test('explain tells what every layer said', () => {
  const { decision, layers } = explain({
    ...question,
    toolkit: { slug: 'support', tools: [] },
    rules: [{ tools: 'orders.*', do: 'ask' }],
  })
  expect(decision.rule).toBe('toolkit support')
  expect(layers.map(({ layer, effect }) => `${layer} ${effect}`)).toEqual([
    'tool allow',
    'token allow',
    'toolkit block',
    'organisation ask',
  ])
})

const order: Effect[] = ['allow', 'ask', 'block']
const pattern = fc.constantFrom(
  '*',
  'orders.*',
  'orders.list',
  'orders.a.b',
  'other.*',
  'nonsense',
  '',
  '.',
  'a.',
)
const rule = fc.record({ tools: pattern, do: fc.constantFrom(...order) })
const questions = fc.record({
  tool: fc.record({
    sourceId: fc.constantFrom('orders', 'other'),
    remoteName: fc.constantFrom('list', 'a.b', '*', ''),
    acceptedDigest: fc.constantFrom('d1', 'd2', null),
    definitionDigest: fc.constantFrom('d1', 'd2'),
    available: fc.boolean(),
    enabled: fc.boolean(),
  }),
  source: fc.record({ id: fc.constantFrom('orders', 'other'), enabled: fc.boolean() }),
  rules: fc.array(rule, { maxLength: 4 }),
})

test('invariant 9: adding a rule anywhere, a toolkit, or a token binding never loosens a decision', () => {
  const toolkits = fc.record({ slug: fc.constantFrom('a', 'b'), tools: fc.array(pattern, { maxLength: 3 }) })
  fc.assert(
    fc.property(questions, rule, fc.nat(4), toolkits, (base, added, position, toolkit) => {
      const plain: Question = { ...base, toolkit: null, caller: { toolkit: null } }
      const before = order.indexOf(decide(plain).effect)
      const narrower: Question[] = [
        { ...plain, rules: base.rules.toSpliced(position, 0, added) },
        { ...plain, toolkit },
        { ...plain, toolkit: undefined },
        { ...plain, caller: { toolkit: 'a' } },
        { ...plain, toolkit, caller: { toolkit: 'a' }, rules: [...base.rules, added] },
      ]
      for (const next of narrower) expect(order.indexOf(decide(next).effect)).toBeGreaterThanOrEqual(before)
    }),
    { numRuns: 2_000 },
  )
})

test('invariant 9: a tool that is unknown, changed or unreviewed is never callable, whatever the rules say', () => {
  fc.assert(
    fc.property(questions, (base) => {
      const decision = decide({ ...base, toolkit: null, caller: { toolkit: null } })
      const sound =
        base.tool.acceptedDigest === base.tool.definitionDigest &&
        base.tool.available &&
        base.tool.enabled &&
        base.source.enabled &&
        base.source.id === base.tool.sourceId
      expect(sound || decision.effect === 'block').toBe(true)
    }),
  )
})
