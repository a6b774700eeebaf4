import type { Source, SourceSpec } from '../catalog/index.ts'
import type { SourceToRun } from '../runners/index.ts'

/** A configured source as a runner needs it: how to start it, and nothing of what it may reach. */
export function sourceToRun(source: Pick<Source, 'id' | 'spec'>): SourceToRun {
  const known = made.get(source)
  if (known !== undefined) return known
  const { id, spec } = source
  const toRun = {
    id,
    command: spec.command,
    args: spec.args,
    environment: spec.environment,
    prefixes: prefixesOf(spec),
  }
  made.set(source, toRun)
  return toRun
}

/** How the placeholder of each credential begins; a source is given those of its own rules only. */
function prefixesOf(spec: SourceSpec): Record<string, string> {
  const bindings = spec.egress.flatMap((rule) => rule.inject).filter((binding) => binding.placeholder)
  return Object.fromEntries(bindings.map(({ credential, prefix }) => [credential, prefix]))
}

/** One object for one object of a snapshot, which never changes: so `runners/` digests it once. */
const made = new WeakMap<object, SourceToRun>()
