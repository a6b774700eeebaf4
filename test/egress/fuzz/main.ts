/** `npm run fuzz -- [--seconds N] [--seed N] [target …]`: the same fuzzing as in the gate, for as long as you like. */
import { existsSync, globSync } from 'node:fs'
import { basename, join } from 'node:path'
import { Command, InvalidArgumentError } from 'commander'
import { ownStore } from '../../support/own-store.ts'
import type { Fuzz } from './fuzz.ts'

/** Every file beside this one that can be fuzzed exports `fuzz`. */
export const targets = globSync('*.ts', { cwd: import.meta.dirname })
  .map((file) => basename(file, '.ts'))
  .filter((name) => !['fuzz', 'main', 'strict-http1'].includes(name))
  .toSorted()

export async function loadTarget(name: string): Promise<Fuzz> {
  const file = join(import.meta.dirname, `${name}.ts`)
  if (!targets.includes(name) || !existsSync(file))
    throw new Error(`nothing called "${name}" is fuzzed; there is ${targets.join(', ')}`)
  return ((await import(file)) as { fuzz: Fuzz }).fuzz
}

function above0(text: string): number {
  const number = Number(text)
  if (number > 0) return number
  throw new InvalidArgumentError('It must be a number above 0.')
}

function whole(text: string): number {
  const number = Number(text)
  if (Number.isInteger(number)) return number
  throw new InvalidArgumentError('It must be a whole number.')
}

async function main(): Promise<void> {
  const program = new Command('fuzz')
    .description('tries made-up input on what reads it, and ends with an error at the first thing wrong')
    .argument('[target...]', `what is fuzzed, in turn: ${targets.join(', ')}; all of them when left out`)
    .option('--seconds <number>', 'how long in all', above0, 60)
    .option('--most <number>', 'how many tries of each at most', above0, Number.POSITIVE_INFINITY)
    .option('--seed <number>', 'a run that found something again', whole, Date.now() % 1_000_000_000)
    .parse()
  const { seconds, most, seed } = program.opts<{ seconds: number; most: number; seed: number }>()
  const chosen = program.args.length === 0 ? targets : program.args
  const fuzzes = await Promise.all(chosen.map(loadTarget)).catch((err: Error) => program.error(err.message))
  for (const [at, fuzz] of fuzzes.entries()) {
    const name = chosen[at]
    process.stdout.write(`${name}: ${seconds / chosen.length} seconds, seed ${seed}\n`)
    const { tried, accepted } = await fuzz({
      seed,
      deadline: performance.now() + (seconds * 1_000) / chosen.length,
      most,
      openStore: ownStore,
    })
    process.stdout.write(`${name}: ${tried} tried, ${accepted} accepted, nothing found\n`)
  }
}

if (import.meta.main) await main()
