/**
 * cli: the commands that speak to a running server over its admin API. Results go to standard output, sentences to
 * standard error, and the exit code says how it ended. It reads no environment and no configuration, never takes
 * a secret as an argument, sends a request once, and sends a key only to the server that it belongs to.
 */
export type { CliIo } from './io.ts'
export { buildCli, runCli } from './program.ts'
export { shortTime, table } from './table.ts'
