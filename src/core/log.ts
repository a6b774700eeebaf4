import { createRequire } from 'node:module'
import type { DestinationStream, pino as Pino } from 'pino'

// Loaded when the first log is made: the toolhost shares this room and must start in the time that pino takes.
const require = createRequire(import.meta.url)

/** Object first, constant lower-case message: `log.warn({ runnerId, err }, 'runner start failed')`. */
export interface Log {
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
  child(fields: object): Log
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
  return pino(
    { level: options.level, base: { name: options.name }, redact: { paths: redacted, censor: '[secret]' } },
    destination ?? pino.destination({ dest: 2, sync: true }),
  )
}

export const silentLog: Log = {
  debug() {},
  info() {},
  warn() {},
  error() {},
  child: () => silentLog,
}
