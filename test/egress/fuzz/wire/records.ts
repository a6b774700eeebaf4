import type { World } from '../../../support/egress-world.ts'
import type { Script } from './upstream.ts'

const patienceMs = 60_000

/**
 * What is wrong with what was recorded behind event `from` of all that the upstreams have seen: each once, with one
 * end. `until` is the last event that was looked at.
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
  const allowed = new Map<string, string>()
  const ends = new Map<string, number>()
  for (const { kind, data } of rows) {
    const requestId = String(data['requestId'])
    if (kind === 'egress.allowed') {
      const id = String(data['path']).slice('/ok/'.length)
      if (allowed.has(id)) return `two records of ${id}`
      allowed.set(id, requestId)
    }
    if (kind === 'egress.finished' || data['outcome'] !== null)
      ends.set(requestId, (ends.get(requestId) ?? 0) + 1)
  }
  for (const id of script.seen.keys()) if (!allowed.has(id)) return `no record of ${id}`
  for (const [id, requestId] of allowed)
    if (ends.get(requestId) !== 1) return `${ends.get(requestId) ?? 'no'} ends of ${id}`
  return undefined
}
