import { expect, test } from 'vitest'
import { type Denial, denialBody, denialPhrase, denialSentence } from '../../src/egress/decision/denial.ts'

const asked = { method: 'GET', url: 'https://api.example.com/v1' }

function help(denial: Partial<Denial>, of = asked): string {
  const whole = {
    status: 403,
    reason: 'host_not_allowed',
    rule: 'default',
    host: 'api.example.com:443',
    source: 'orders',
    ...denial,
  } as const
  const { help, message } = JSON.parse(denialBody(whole, of)) as { help: string; message: string }
  expect(denialSentence(whole, of)).toBe(
    `The egress proxy refused ${of.method} ${of.url} (${whole.reason}): ${help}`,
  )
  expect(message).toBe(denialSentence(whole, of))
  expect(denialPhrase(whole, of)).toBe(`${whole.reason}: ${help}`.replaceAll('’', "'"))
  return help
}

test('a credential at fault is named to the person too, with the command that stands last', () => {
  expect(help({ reason: 'credential_missing', rule: 'egress[5] ORDERS_KEY' })).toBe(
    'ask an admin: toolcrib credentials set ORDERS_KEY',
  )
  expect(help({ reason: 'credential_missing', rule: 'egress[5] AWS_SECRET for prn_1' })).toBe(
    'ask an admin: toolcrib credentials set AWS_SECRET --for prn_1',
  )
  expect(help({ reason: 'credential_unreadable', rule: 'warn ORDERS_KEY' })).toBe(
    'ask an admin to set ORDERS_KEY again; a private key is for signing and client certificates only',
  )
  expect(help({ reason: 'credential_unreadable', rule: 'egress[0] AWS_ID AWS_SECRET' })).toContain(
    'set AWS_ID and AWS_SECRET again',
  )
})

test('no command is named for a host that no rule can name: an address, or a name without a dot', () => {
  expect(help({})).toContain('toolcrib egress allow orders GET https://api.example.com/v1')
  expect(help({ host: '10.0.0.1:443' })).toBe('reach the host by its name: no rule can allow an address')
  expect(help({ host: '[fd00::7]:443' })).toBe('reach the host by its name: no rule can allow an address')
  for (const host of ['db:80', 'localhost:8080', 'localhost'])
    expect(help({ host })).toMatch(
      /^reach the host by its full name.*no rule can allow a name without a dot$/,
    )
})

test('a refused tunnel names a command that would open it, for a method that is asked inside', () => {
  expect(help({}, { method: 'CONNECT', url: 'https://api.example.com' })).toBe(
    'ask an admin: toolcrib egress allow orders GET https://api.example.com',
  )
})

test('behind the status stands no part of a command: what is too long for one line is the reason alone', () => {
  const url = `https://api.example.com/${'a'.repeat(900)}`
  const denial = {
    status: 403,
    reason: 'host_not_allowed',
    rule: 'default',
    host: 'api.example.com:443',
    source: 'orders',
  } as const
  expect(denialPhrase(denial, { method: 'GET', url })).toMatch(/aaa$/)
  expect(denialPhrase(denial, { method: 'GET', url: url.repeat(2) })).toBe('host_not_allowed')
})

test('an address that a rule may name is told with the way to name it, and any other as what no rule can allow', () => {
  expect(help({ reason: 'address_private' })).toBe(
    'the host leads to a private address; if that is meant, an admin names it and its port in the rule, as `address` and `port`',
  )
  expect(help({ reason: 'address_own' })).toMatch(/^the host leads to an own address/)
  expect(help({ reason: 'address_metadata' })).toBe(
    'the host leads to a metadata address, which no rule can allow',
  )
})

test('a name that does not resolve is looked for in the rules only where a rule has it', () => {
  expect(help({ reason: 'name_unresolved', rule: 'egress[0]' })).toBe(
    'the host does not resolve; check its name in the source’s egress rules',
  )
  expect(help({ reason: 'name_unresolved', rule: 'warn' })).toBe(
    'the host does not resolve; no rule names it (warn mode), so check the address that was asked for',
  )
})
