import { expect, test } from 'vitest'
import { checkRules } from '../../src/policy/index.ts'

const known = {
  sources: ['orders', 'workspace'],
  tools: [
    { sourceId: 'orders', remoteName: 'list' },
    { sourceId: 'orders', remoteName: 'v2.create' },
  ],
}

test('patterns that match something, or may once their source is discovered, are fine', () => {
  const rules = ['*', 'orders.*', 'orders.list', 'orders.v2.create', 'workspace.read'].map((tools) => ({
    tools,
    do: 'block' as const,
  }))
  expect(checkRules({ rules, toolkits: { support: { tools: ['orders.list'] } } }, known)).toEqual([])
})

test('every pattern that can match nothing is reported at once, with the cure', () => {
  const problems = checkRules(
    {
      rules: [
        { tools: 'order.list', do: 'block' },
        { tools: 'orders', do: 'block' },
        { tools: 'orders.lst', do: 'ask' },
      ],
      toolkits: { support: { tools: ['orders.list', 'orders.'] } },
    },
    known,
  )
  expect(problems).toEqual([
    {
      where: 'rules[0].tools',
      message: '"order.list" matches nothing: there is no source "order"; sources: orders, workspace',
    },
    {
      where: 'rules[1].tools',
      message:
        '"orders" is not a pattern; use "source.tool", "source.*" or "*" with the source\'s id and the tool\'s own name',
    },
    {
      where: 'rules[2].tools',
      message:
        '"orders.lst" matches nothing: the source "orders" has no tool "lst"; its tools: list, v2.create',
    },
    {
      where: 'toolkits.support.tools[1]',
      message:
        '"orders." is not a pattern; use "source.tool", "source.*" or "*" with the source\'s id and the tool\'s own name',
    },
  ])
})
