import { canonicalJson } from '../core/index.ts'

/** One place where two JSON values differ; a member that is absent on one side is left out there. */
export interface Change {
  /** A JSON pointer; empty for the whole value. */
  path: string
  before?: unknown
  after?: unknown
}

/** What a person must look at to get from `before` to `after`: the smallest differing places, in order. */
export function differences(before: unknown, after: unknown, path = ''): Change[] {
  if (canonicalJson(before) === canonicalJson(after)) return []
  if (!isContainer(before) || !isContainer(after) || Array.isArray(before) !== Array.isArray(after))
    return [{ path, before, after }]
  const keys = [...new Set([...Object.keys(before), ...Object.keys(after)])]
  return keys.flatMap((key): Change[] => {
    const here = `${path}/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`
    if (!Object.hasOwn(before, key)) return [{ path: here, after: after[key] }]
    if (!Object.hasOwn(after, key)) return [{ path: here, before: before[key] }]
    return differences(before[key], after[key], here)
  })
}

function isContainer(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === 'object'
}
