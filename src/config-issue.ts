import type { z } from 'zod'

type Issue = z.core.$ZodRawIssue

/**
 * What is wrong with a value of the configuration: what was given, and what would work. For everything that the schema
 * has no sentence of its own for; undefined leaves an issue to zod.
 */
export function sayIssue(issue: Issue): string | undefined {
  switch (issue.code) {
    case 'unrecognized_keys':
      return `unknown key ${issue.keys.map((key) => `"${key}"`).join(', ')}; toolcrib.example.yaml lists every key`
    case 'invalid_key':
      return `this name cannot be used; ${issue.issues.map(({ message }) => message).join(' and ')}`
    case 'invalid_type':
      return wrongType(issue.expected, issue.input)
    case 'invalid_value':
      return choice(issue.values.map(String), issue.input)
    case 'invalid_union': {
      const { discriminator, options } = issue
      if (typeof discriminator !== 'string' || !Array.isArray(options)) return undefined
      return choice(options.map(String), Object(issue.input)[discriminator])
    }
    case 'too_big':
      return outOfRange(issue.origin, issue.input, `${issue.maximum} at most`)
    case 'too_small':
      return outOfRange(issue.origin, issue.input, `${issue.minimum} at least`)
    case 'custom':
    case 'invalid_element':
    case 'invalid_format':
    case 'not_multiple_of':
      return undefined
  }
}

/** For each type of the schema what to write. */
const cures: Record<string, string> = {
  record: 'write `name: value` lines below it, or {} for none',
  object: 'write `name: value` lines below it, or {} for none',
  array: 'write a list: each entry on a line of its own behind `- `, or [] for none',
  string: 'write a text, in quotes where it looks like something else',
  number: 'write a whole number',
  int: 'write a whole number',
  boolean: 'write true or false',
}

function wrongType(expected: string, input: unknown): string | undefined {
  const cure = cures[expected]
  if (cure === undefined) return undefined
  if (input === undefined) return 'is missing; toolcrib.example.yaml shows what it may be'
  // In the place of a text may stand a variable of a source's environment, which is nobody's to read.
  if (['record', 'object', 'array', 'string'].includes(expected)) return `holds ${kindOf(input)}; ${cure}`
  const quoted = typeof input === 'string' && (/^\d+$/.test(input) || input === 'true' || input === 'false')
  return `holds ${shown(input)}; ${quoted ? 'write it without quotes' : cure}`
}

function choice(options: readonly string[], input: unknown): string {
  const cure = `write ${options.length === 1 ? '' : `${options.slice(0, -1).join(', ')} or `}${options.at(-1)}`
  return input === undefined ? `is missing; ${cure}` : `holds ${shown(input)}; ${cure}`
}

function outOfRange(origin: string, input: unknown, bound: string): string {
  if (origin === 'array')
    return `has ${count((input as unknown[]).length, 'entry', 'entries')}; name ${bound}`
  if (origin !== 'string') return `holds ${shown(input)}; write ${bound}`
  const { length } = input as string
  return length === 0 ? 'holds an empty text; write one' : `has ${length} characters; write ${bound}`
}

const count = (number: number, one: string, many: string) =>
  number === 0 ? `no ${one}` : `${number} ${number === 1 ? one : many}`

/** The value itself where it is short enough to be known again; of what has parts its kind. */
function shown(input: unknown): string {
  if (typeof input === 'string') return JSON.stringify(input.slice(0, 40))
  return typeof input === 'number' || typeof input === 'boolean' ? String(input) : kindOf(input)
}

/** Without the value: in the place of a list or a section anything may stand. */
function kindOf(input: unknown): string {
  if (input === null || input === undefined) return 'nothing'
  if (Array.isArray(input)) return 'a list'
  if (typeof input === 'string') return 'a text'
  return typeof input === 'object' ? 'names and values' : `a ${typeof input}`
}
