import type { World } from '../../../support/egress-world.ts'
import type { Script } from './upstream.ts'

const patienceMs = 60_000

/**
 * What is wrong with what was recorded behind event `from` of all that the upstreams have seen: each once, with one
 * end, but for what an upstream refused before. `until` is the last event that was looked at.
 */
export async function judgeRecords(
  world: World,
  script: Script,
  from: number,
): Promise<{ wrong: string | undefined; until: number }> {
  for (const late = performance.now() + patienceMs; ; ) {
    const rows = await world.store.db
      .selectFrom('events')
      .select(['id', 'kind', 'data'])
      .where('kind', 'in', ['egress.allowed', 'egress.finished'])
      .where('id', '>', from)
      .orderBy('id')
      .execute()
    const wrong = wrongWith(rows, script)
    if (wrong === undefined || performance.now() > late) return { wrong, until: rows.at(-1)?.id ?? from }
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

function wrongWith(
  rows: readonly { kind: string; data: Record<string, unknown> }[],
  script: Script,
): string | undefined {
  const allowed = new Map<string, string[]>()
  const ends = new Map<string, unknown[]>()
  for (const { kind, data } of rows) {
    const requestId = String(data['requestId'])
    if (kind === 'egress.allowed') {
      const id = String(data['path']).slice('/ok/'.length)
      allowed.set(id, [...(allowed.get(id) ?? []), requestId])
    }
    const outcome = (kind === 'egress.finished' ? data : data['outcome']) as { failure?: unknown } | null
    if (outcome !== null) ends.set(requestId, [...(ends.get(requestId) ?? []), outcome.failure])
  }
  for (const id of script.seen.keys()) if (!allowed.has(id)) return `no record of ${id}`
  for (const [id, requestIds] of allowed)
    for (const [index, requestId] of requestIds.entries()) {
      const [failure, ...more] = ends.get(requestId) ?? ['none']
      if (failure === 'none' || more.length > 0)
        return `${more.length === 0 ? 'no end' : 'two ends'} of ${id}`
      if (index < requestIds.length - 1 && failure !== 'upstream_refused') return `two records of ${id}`
    }
  return undefined
}
