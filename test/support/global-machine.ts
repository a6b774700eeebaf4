import type { TestProject } from 'vitest/node'
import { lookAtMachine } from './machine.ts'

/** Once for the whole run, so that every file has the same answer: what `needing` goes by. */
export async function setup(project: TestProject): Promise<void> {
  project.provide('lacking', await lookAtMachine())
}
