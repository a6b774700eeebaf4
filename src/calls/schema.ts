import { Ajv, type ErrorObject, type Options, type ValidateFunction } from 'ajv'
import { Ajv2019 } from 'ajv/dist/2019.js'
import { Ajv2020 } from 'ajv/dist/2020.js'
import formats from 'ajv-formats'
import { AppError, deeperThan } from '../core/index.ts'
import { withinTime } from './guard.ts'

/** Says what is wrong with a value, at most five things; empty when nothing is. */
export type Check = (value: unknown) => string[]

const limits = { bytes: 128 * 1024, depth: 64, compileMs: 1_000, checkMs: 250, problems: 5 }
const dialects: Record<string, typeof Ajv | typeof Ajv2019 | typeof Ajv2020> = {
  'json-schema.org/draft/2020-12/schema': Ajv2020,
  'json-schema.org/draft/2019-09/schema': Ajv2019,
  'json-schema.org/draft-07/schema': Ajv,
}
// Nothing is fetched, coerced or filled in: the arguments reach the source as the client sent them.
const options: Options = { strict: false, validateSchema: false, meta: false, logger: false }
/** Up to this many members, everything that is wrong is found; beyond, the search ends with the first. */
const fewMembers = 1_000
/** Keywords whose cost is not bounded by the sizes of schema and value. */
const costly = /"(?:format|pattern|patternProperties|\$ref|\$dynamicRef|\$recursiveRef|uniqueItems)":/

/**
 * Compiles an input schema by the dialect of its `$schema` (2020-12 when it names none). Throws
 * `source_invalid_output` with the cause when that cannot be done; other schemas are never fetched.
 */
export function compileSchema(schema: unknown): Check {
  if (schema === null || typeof schema !== 'object') throw unusable('it is not an object')
  if (deeperThan(schema, limits.depth)) throw unusable(`it nests deeper than ${limits.depth} levels`)
  const text = JSON.stringify(schema)
  if (Buffer.byteLength(text) > limits.bytes) throw unusable(`it is larger than ${limits.bytes / 1024} KiB`)
  const validateAll = compile(schema, true)
  // Every alternative of every item may fail: a large value would fill the memory with what is wrong with it.
  let validateFirst: ValidateFunction | undefined
  const isCostly = costly.test(text)
  const tooLong = new AppError(
    'arguments_invalid',
    'Checking the arguments against the schema of this tool takes too long; simpler or shorter values may work.',
  )
  return (value) => {
    const isLarge = hasMoreMembers(value, fewMembers)
    if (!isLarge && !isCostly) return run(validateAll, value)
    if (isLarge) validateFirst ??= compile(schema, false)
    const validate = (isLarge && validateFirst) || validateAll
    return withinTime(limits.checkMs, tooLong, () => run(validate, value))
  }
}

/** Whether a value has more than `limit` members and items in all; stops counting there. */
function hasMoreMembers(value: unknown, limit: number): boolean {
  let left = limit
  const count = (part: unknown): boolean => {
    if (part === null || typeof part !== 'object') return false
    const members: unknown[] = Array.isArray(part) ? part : Object.values(part)
    left -= members.length
    return left < 0 || members.some(count)
  }
  return count(value)
}

function compile(schema: object, allErrors: boolean): ValidateFunction {
  const named = '$schema' in schema && typeof schema.$schema === 'string' ? schema.$schema : undefined
  const Dialect =
    named === undefined ? Ajv2020 : dialects[named.replace(/^https?:\/\//, '').replace(/#$/, '')]
  if (Dialect === undefined)
    throw unusable('its $schema names a dialect other than 2020-12, 2019-09 and draft-07')
  try {
    return withinTime(limits.compileMs, unusable('it is too complex'), () => {
      // One instance a schema: an $id in one source's schema must not be seen by another's.
      const ajv = new Dialect({ ...options, allErrors })
      formats.default(ajv)
      const validate: ValidateFunction & { $async?: unknown } = ajv.compile(schema)
      // Such a schema answers with a promise, which would count as valid and whose rejection nobody awaits.
      if (validate.$async === true) throw unusable('it is asynchronous')
      return validate
    })
  } catch (error) {
    if (error instanceof AppError) throw error
    const remote = error instanceof Error && 'missingRef' in error
    throw unusable(
      remote ? 'it refers to a schema that is not in it, and none is fetched' : 'it is not valid',
      error,
    )
  }
}

function run(validate: ValidateFunction, value: unknown): string[] {
  if (validate(value) === true) return []
  return (validate.errors ?? []).slice(0, limits.problems).map(describe)
}

function describe(error: ErrorObject): string {
  const where = error.instancePath === '' ? 'the arguments' : error.instancePath
  const params = error.params as Record<string, unknown>
  const extra = params['additionalProperty'] ?? params['unevaluatedProperty']
  if (typeof extra === 'string') return `${where} must not have "${extra.slice(0, 64)}"`
  const allowed = params['allowedValues']
  if (Array.isArray(allowed)) return `${where} must be one of ${JSON.stringify(allowed).slice(0, 200)}`
  return `${where} ${(error.message ?? 'is not valid').slice(0, 200)}`
}

function unusable(why: string, cause?: unknown): AppError {
  return new AppError(
    'source_invalid_output',
    `The input schema of this tool cannot be used: ${why}. Ask an admin; the tool's source must be corrected.`,
    { cause },
  )
}
