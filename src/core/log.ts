import { createRequire } from 'node:module'
import type { DestinationStream, pino as Pino } from 'pino'
import { standardError } from './standard-error.ts'

// Loaded when the first log is made: the toolhost shares this room and must start in the time that pino takes.
const require = createRequire(import.meta.url)

/** Object first, constant lower-case message: `log.warn({ runnerId, err }, 'runner start failed')`. */
export interface Log {
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
  child(fields: object): Log
  /**
   * Writes lines at `info` in one go, each of fields that are JSON text already (`"port":443,"path":"/"`): for what has
   * thousands a second, where making and writing each by itself takes longer than anything else. None is looked at for
   * secrets.
   */
  lines(fields: readonly string[], message: string): void
  /** Whether a line of this level would be written: to be asked before a costly one is made. */
  isLevelEnabled(level: 'debug' | 'info' | 'warn' | 'error'): boolean
}

/** Fields that may carry a secret by accident; the last line of defence, never the first. */
const redacted = [
  'authorization',
  'cookie',
  'token',
  'secret',
  'password',
  'headers.authorization',
  'req.headers.authorization',
]

/** A pino logger that writes JSON lines to `destination` (standard error when left out). */
export function createLog(options: { level: string; name: string }, destination?: DestinationStream): Log {
  const { pino } = require('pino') as { pino: typeof Pino }
  const stream = destination ?? standardError((lost) => log.warn({ lost }, 'lines of the log were lost'))
  const log = pino(
    {
      level: options.level,
      base: { name: options.name },
      redact: { paths: redacted, censor: '[secret]' },
      serializers: { err: describeError },
    },
    stream,
  )
  // A child is made from it, and finds this with its own fields.
  const lines = function (this: typeof log, fields: readonly string[], message: string) {
    if (fields.length === 0 || !this.isLevelEnabled('info')) return
    const own = JSON.stringify(this.bindings()).slice(1, -1)
    const before = `{"level":${this.levels.values['info']},"time":${Date.now()},${own},`
    const after = `,"msg":${JSON.stringify(message)}}\n`
    stream.write(fields.map((each) => `${before}${each}${after}`).join(''))
  }
  return Object.assign(log, { lines }) as unknown as Log
}

/**
 * What a log says of an error. Libraries hang whole clients and requests on theirs, with whatever those hold, so
 * only what is plain goes in.
 */
function describeError(error: unknown, depth = 0): unknown {
  if (!(error instanceof Error)) return typeof error === 'object' ? { message: 'not an error' } : error
  const plain = Object.entries(error).filter(([, value]) =>
    ['string', 'number', 'boolean'].includes(typeof value),
  )
  return {
    ...Object.fromEntries(plain),
    type: error.name,
    message: error.message,
    stack: error.stack,
    ...('details' in error ? { details: error.details } : {}),
    ...(error.cause === undefined || depth > 4 ? {} : { cause: describeError(error.cause, depth + 1) }),
  }
}

export const silentLog: Log = {
  debug() {},
  info() {},
  warn() {},
  error() {},
  lines() {},
  child: () => silentLog,
  isLevelEnabled: () => false,
}
