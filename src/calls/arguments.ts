import { LRUCache } from 'lru-cache'
import type { Tool } from '../catalog/index.ts'
import { AppError, canonicalJson, deeperThan, sha256 } from '../core/index.ts'
import { type Check, compileSchema } from './schema.ts'

const limits = { bytes: 1024 * 1024, depth: 64 }

/** The digest that stands for a call's arguments, and what is wrong with their size, if anything is. */
export interface MeasuredArguments {
  digest: string
  problem: AppError | undefined
}

/** Digests arguments of any size and depth; those beyond the limits get a digest too where there can be one. */
export function measureArguments(value: Record<string, unknown>): MeasuredArguments {
  if (deeperThan(value, limits.depth))
    return {
      digest: 'none',
      problem: new AppError(
        'arguments_invalid',
        `The arguments nest deeper than ${limits.depth} levels; send a flatter value.`,
      ),
    }
  const text = canonicalJson(value)
  const large = Buffer.byteLength(text) > limits.bytes
  return {
    digest: sha256(text),
    problem: large
      ? new AppError(
          'too_large',
          `The arguments are larger than ${limits.bytes / 1024 / 1024} MiB; send less, or the name of a file in your sandbox.`,
        )
      : undefined,
  }
}

export type DemandValid = (tool: Tool, value: Record<string, unknown>) => void

/**
 * Checks arguments against a tool's input schema before anybody is bothered; throws `arguments_invalid` with what
 * to correct. Compiled schemas, and the refusals of bad ones, are kept by definition, the last 500.
 */
export function createArgumentsCheck(): DemandValid {
  const compiled = new LRUCache<string, Check | AppError>({ max: 500 })
  return (tool, value) => {
    let check = compiled.get(tool.definitionDigest)
    if (check === undefined) {
      check = tryCompile(tool.definition['inputSchema'])
      compiled.set(tool.definitionDigest, check)
    }
    if (check instanceof AppError) throw check
    const problems = check(value)
    if (problems.length === 0) return
    throw new AppError(
      'arguments_invalid',
      `The arguments do not fit "${tool.alias}": ${problems.join('; ')}. Correct them and call again.`,
    )
  }
}

function tryCompile(schema: unknown): Check | AppError {
  try {
    return compileSchema(schema)
  } catch (error) {
    if (error instanceof AppError) return error
    throw error
  }
}
