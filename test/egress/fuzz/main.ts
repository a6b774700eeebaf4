/** `npm run fuzz -- [--seconds N] [--seed N] [target …]`: the same fuzzing as in the gate, for as long as you like. */
import { existsSync, globSync } from 'node:fs'
import { basename, join } from 'node:path'
import { parseArgs } from 'node:util'
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

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    options: { seconds: { type: 'string', default: '60' }, seed: { type: 'string' } },
    allowPositionals: true,
  })
  const seconds = Number(values.seconds)
  const seed = Number(values.seed ?? Date.now() % 1_000_000_000)
  if (!(seconds > 0) || !Number.isInteger(seed))
    throw new Error('give --seconds a number above 0, and --seed a whole one')
  const chosen = positionals.length === 0 ? targets : positionals
  for (const name of chosen) {
    const fuzz = await loadTarget(name)
    process.stdout.write(`${name}: ${seconds / chosen.length} seconds, seed ${seed}\n`)
    const { tried, accepted } = await fuzz({
      seed,
      deadline: performance.now() + (seconds * 1_000) / chosen.length,
    })
    process.stdout.write(`${name}: ${tried} tried, ${accepted} accepted, nothing found\n`)
  }
}

if (import.meta.main) await main()
