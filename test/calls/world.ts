import { sql } from 'kysely'
import type { Caller } from '../../src/access/index.ts'
import { type CallHooks, type CallsRoom, createCalls } from '../../src/calls/index.ts'
import { type CatalogConfig, type CatalogKeeper, createCatalog, sourceSpec } from '../../src/catalog/index.ts'
import {
  newId,
  type PrincipalId,
  type ReplicaId,
  type RunnerId,
  silentLog,
  type TokenId,
} from '../../src/core/index.ts'
import type { RunnerAnswer, RunnerCall, RunnerCallHooks, Runners } from '../../src/runners/index.ts'
import { beat, listEvents, listen, type Store } from '../../src/store/index.ts'
import { testStore } from '../support/database.ts'

/**
 * A stand-in for the runners' room. Where it lies: there is no sandbox, `sending` is called at once, and what a
 * call answers is the script's word. It keeps the promises of `Runners`: nothing is sent when `sending` rejects.
 */
export type Script = (call: RunnerCall, hooks: RunnerCallHooks) => Promise<RunnerAnswer>

export const life = { runnerId: 'run_1' as RunnerId, generation: 3 }
const ok: RunnerAnswer = { type: 'result', result: { content: [{ type: 'text', text: 'hello' }] } }

/** Sends, then answers `answer`. */
export const answering =
  (answer: RunnerAnswer): Script =>
  async (_call, hooks) => {
    await hooks.sending(life)
    return answer
  }

/** Sends, then waits for the abort and answers as a toolhost does that has ended the process group. */
export const hanging: Script = async (_call, hooks) => {
  await hooks.sending(life)
  await aborted(hooks.signal)
  return { type: 'failed', code: 'call_cancelled', message: 'The call was cancelled.' }
}

export async function aborted(signal: AbortSignal): Promise<void> {
  if (!signal.aborted)
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
}

export interface World extends AsyncDisposable {
  store: Store
  catalog: CatalogKeeper
  calls: CallsRoom
  caller: Caller
  /** Calls whose `sending` went through, in order. */
  sent: RunnerCall[]
  script: Script
  call(alias: string, args?: Record<string, unknown>, change?: Partial<Caller> & { in?: string }): Called
  hooks(signal?: AbortSignal): CallHooks
  rows(): Promise<Record<string, unknown>[]>
  events(): Promise<{ callId: string | null; data: Record<string, unknown> }[]>
  configure(change: Partial<CatalogConfig>): Promise<void>
  revoke(): Promise<void>
}
type Called = ReturnType<CallsRoom['call']>

const echo = {
  name: 'echo',
  inputSchema: {
    type: 'object',
    properties: { text: { type: 'string' } },
    required: ['text'],
    additionalProperties: false,
  },
}
export const baseConfig: CatalogConfig = {
  sources: {
    demo: sourceSpec.parse({ kind: 'stdio', command: 'demo', args: ['-x'], review: 'on_first_sight' }),
  },
  toolkits: { empty: { title: 'Empty', tools: ['demo.nothing'] }, all: { title: 'All', tools: ['demo.*'] } },
  rules: [],
}

export async function world(
  options: {
    /** Hears the notices of others, as a gateway does. */
    listens?: boolean
    tools?: { name: string }[]
    brokenPool?: () => Error | undefined
  } = {},
): Promise<World> {
  const store = await testStore()
  const notices = options.listens === true ? listen(store, silentLog) : undefined
  const replicaId = newId('rep') as ReplicaId
  await beat(store.db, { id: replicaId, kind: 'gateway', host: 'test' })
  const principalId = newId('prn') as PrincipalId
  const tokenId = newId('tok') as TokenId
  await sql`INSERT INTO principals (id, kind, slack_team, slack_user, name)
    VALUES (${principalId}, 'person', 'T1', 'U1', 'Alice')`.execute(store.db)
  await sql`INSERT INTO tokens (id, principal_id, secret_hash, pepper_id, expires_at)
    VALUES (${tokenId}, ${principalId}, 'h', 'p', now() + interval '1 day')`.execute(store.db)
  const catalog = createCatalog({ store, log: silentLog })
  await catalog.apply(baseConfig, 'file')
  await catalog.discover('demo', async () => options.tools ?? [echo])

  const sent: RunnerCall[] = []
  const state = { script: answering(ok) }
  const runners: Pick<Runners, 'awake' | 'call' | 'find'> = {
    awake: () => true,
    find: async () => undefined,
    call: async (call, hooks) => {
      const sending = async (where: typeof life) => {
        await hooks.sending(where)
        sent.push(call)
      }
      return await state.script(call, { ...hooks, sending })
    },
  }
  // Only `ended` of access is used here, and this is what it promises.
  const access = {
    ended: async (ids: TokenId[]) => {
      const { rows } = await sql<{
        id: TokenId
      }>`SELECT t.id FROM tokens t JOIN principals p ON p.id = t.principal_id
        WHERE t.id = ANY(${ids}) AND (t.revoked_at IS NOT NULL OR t.expires_at <= now() OR p.state <> 'active')`.execute(
        store.db,
      )
      return rows.map((row) => row.id)
    },
  }
  const pool = new Proxy(store.pool, {
    get(target, key) {
      const broken = key === 'query' ? options.brokenPool?.() : undefined
      if (broken !== undefined) return async () => Promise.reject(broken)
      const member: unknown = Reflect.get(target, key)
      return typeof member === 'function' ? (member.bind(target) as unknown) : member
    },
  })
  const calls = createCalls({
    store: { db: store.db, pool },
    access,
    catalog,
    runners,
    log: silentLog,
    replicaId,
    isolation: 'unshare',
    ...(notices === undefined ? {} : { notices }),
  })
  const hooks = (signal = new AbortController().signal): CallHooks => ({
    signal,
    progress: () => undefined,
    waiting: () => undefined,
  })
  const caller: Caller = {
    principalId,
    principalName: 'Alice',
    tokenId,
    toolkit: null,
    expiresAt: new Date('2030-01-01T00:00:00Z'),
    catalogVersion: (await catalog.latest()).version,
  }
  return {
    store,
    catalog,
    calls,
    caller,
    sent,
    get script() {
      return state.script
    },
    set script(script: Script) {
      state.script = script
    },
    hooks,
    call: async (alias, args = { text: 'x' }, { in: toolkit, ...change } = {}) =>
      await calls.call(
        {
          caller: { ...caller, ...change },
          toolkit: toolkit ?? null,
          alias,
          arguments: args,
          client: 'test 1.0',
        },
        hooks(),
      ),
    rows: async () => {
      await calls.recorded(1_000)
      return (await sql<Record<string, unknown>>`SELECT * FROM calls ORDER BY started_at`.execute(store.db))
        .rows
    },
    events: async () => {
      await calls.recorded(1_000)
      const events = await listEvents(store.db, { limit: 100, kind: 'call.finished' })
      return events.map(({ callId, data }) => ({ callId, data }))
    },
    async configure(change) {
      await catalog.apply({ ...baseConfig, ...change }, 'file')
    },
    async revoke() {
      await sql`UPDATE tokens SET revoked_at = now() WHERE id = ${tokenId}`.execute(store.db)
    },
    async [Symbol.asyncDispose]() {
      await calls[Symbol.asyncDispose]()
      await notices?.[Symbol.asyncDispose]()
      await store[Symbol.asyncDispose]()
    },
  }
}

/** The one text of a refusal, after checking that it names the call id and the code. */
export function refusalText({ callId, result }: Awaited<Called>): string {
  const { content, isError, _meta } = result as {
    content: { text: string }[]
    isError: boolean
    _meta: Record<string, string>
  }
  const text = content[0]?.text ?? ''
  if (!isError || _meta['toolcrib/callId'] !== callId || !text.endsWith(`(call ${callId})`))
    throw new Error(`not a refusal: ${JSON.stringify(result)}`)
  return `${_meta['toolcrib/code']}: ${text.slice(0, -` (call ${callId})`.length)}`
}
