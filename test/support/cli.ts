import { Readable } from 'node:stream'
import { type CliIo, runCli } from '../../src/cli/index.ts'

/** A command line in this process: what it printed where, and its exit code. */
export async function cli(argv: string[], io: Partial<CliIo> & { input?: string | Buffer } = {}) {
  const out: string[] = []
  const err: string[] = []
  const sink = (to: string[]) => ({ write: (text: unknown) => to.push(String(text)) > 0 }) as CliIo['stdout']
  const { input = '', ...rest } = io
  const code = await runCli(argv, {
    stdin: Readable.from([Buffer.from(input)]),
    stdout: sink(out),
    stderr: sink(err),
    environment: {},
    ...rest,
  })
  return { code, out: out.join(''), err: err.join('') }
}
