import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createAccess } from '../../src/access/index.ts'
import { Secret, silentLog } from '../../src/core/index.ts'
import { migrate, openDatabase, openStore } from '../../src/store/index.ts'

export interface TokenCheck {
  /** CPU of this process per check, in µs: parsing, digest, one prepared query with its parsing, the verdict. */
  cpuMicroseconds: number
  /** The same without the query's round trip: a bare `SELECT 1` on the same pool is taken off. */
  cpuWithoutQueryMicroseconds: number
  firstMs: number
}

/** What `access.verify` costs for a token that this process has met before, on a database of its own. */
export async function measureTokenCheck(checks: number): Promise<TokenCheck> {
  const folder = mkdtempSync(join(tmpdir(), 'toolcrib-bench-'))
  try {
    await using database = await openDatabase({ url: undefined, stateDir: folder, log: silentLog })
    await using store = openStore({ url: database.url, poolSize: 4, log: silentLog })
    await migrate(store.db)
    await using access = createAccess({
      store,
      peppers: [{ id: 'bench', value: new Secret('x'.repeat(32)) }],
      maxLifetimeMs: 86_400_000,
      log: silentLog,
    })
    const person = await access.ensurePrincipal({ slackTeam: 'T0', slackUser: 'U0', name: 'bench' })
    const { token } = await access.issue({ principalId: person.id, by: 'bench' })
    const from = { address: '127.0.0.1', client: 'bench' }
    const start = performance.now()
    await access.verify(token.reveal(), from)
    const firstMs = performance.now() - start
    const verify = async () => void (await access.verify(token.reveal(), from))
    const bare = async () => void (await store.pool.query({ name: 'one', text: 'SELECT 1', values: [] }))
    await cpuOf(bare, checks)
    await cpuOf(verify, checks)
    const query = await cpuOf(bare, checks)
    const cpuMicroseconds = await cpuOf(verify, checks)
    return { cpuMicroseconds, cpuWithoutQueryMicroseconds: cpuMicroseconds - query, firstMs }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** µs of user and system CPU per run, sixteen at a time as a busy gateway would. */
async function cpuOf(work: () => Promise<void>, runs: number): Promise<number> {
  const before = process.cpuUsage()
  for (let done = 0; done < runs; done += 16) await Promise.all(Array.from({ length: 16 }, work))
  const { user, system } = process.cpuUsage(before)
  return (user + system) / runs
}
