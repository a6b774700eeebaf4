import type { Source } from '../catalog/index.ts'
import type { SourceToRun } from '../runners/index.ts'

/** A configured source as a runner needs it: how to start it, and nothing of what it may reach. */
export function sourceToRun({ id, spec }: Pick<Source, 'id' | 'spec'>): SourceToRun {
  return { id, command: spec.command, args: spec.args, environment: spec.environment }
}
