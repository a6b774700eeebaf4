import { timingSafeEqual } from 'node:crypto'
import {
  type AdminKeyId,
  AppError,
  type Clock,
  type Log,
  type Secret,
  sha256,
  systemClock,
} from '../core/index.ts'
import {
  appendEvents,
  countAdminKeys,
  type Executor,
  findAdminKey,
  insertAdminKey,
  type ListedAdminKey,
  listAdminKeys,
  lockAdminKeys,
  revokeAdminKey,
  type Store,
  touchAdminKey,
} from '../store/index.ts'
import { limitedAddress } from './address.ts'
import { createBackground } from './background.ts'
import { createBuckets } from './buckets.ts'
import { createKnownKeys } from './known.ts'
import { createRefusals } from './refusals.ts'
import { composeKey, mintKeyId, mintSecret, parseKey } from './token.ts'

export interface AdminKeys {
  /** The first key ever, made once per database however many replicas start together; whoever made it shows it. */
  ensureFirst(): Promise<Secret | undefined>
  /** A new key; this is the only time that it can be seen. */
  create(name: string, by: string): Promise<{ id: AdminKeyId; key: Secret }>
  /** Whose key this is; throws `unauthenticated` or `rate_limited`, and audits that. */
  verify(key: string | undefined, address: string): Promise<{ id: AdminKeyId; name: string }>
  /** Oldest first, ended ones too. */
  list(): Promise<ListedAdminKey[]>
  /** Again does nothing. The last live key cannot be revoked: nobody could make another. */
  revoke(id: AdminKeyId, by: string): Promise<void>
}

/**
 * Keys of the admin API. They are 256 random bits, so that SHA-256 is hash enough; the row is read on every
 * request, so that a revoked key is refused on the next one.
 */
export function createAdminKeys(options: {
  store: Store
  log: Log
  clock?: Clock
}): AdminKeys & AsyncDisposable {
  const { store, log, clock = systemClock } = options
  const { db } = store
  const known = createKnownKeys(100)
  const wrong = createBuckets({ burst: 20, perMinute: 20 }, clock)
  const refusals = createRefusals({ store, log, clock })
  const background = createBackground(log)

  const check = async (text: string | undefined, address: string) => {
    if (text === undefined || text === '') {
      throw new AppError('unauthenticated', 'An admin key is needed: send "Authorization: Bearer tca_…".')
    }
    const parsed = parseKey('tca', text)
    if (parsed === undefined) {
      throw new AppError(
        'unauthenticated',
        'This is not a whole admin key ("tca_…" with a checksum). Copy it again.',
      )
    }
    const id = `adm_${parsed.id}` as AdminKeyId
    const digest = known.digest(text)
    const limited = limitedAddress(address)
    // A key that was right once here passes by the limit: wrong ones sent by others cannot stop it.
    if (!known.seen(id, digest) && wrong.empty(limited)) {
      throw new AppError('rate_limited', 'Too many wrong admin keys came from this address. Wait a minute.')
    }
    const row = await findAdminKey(db, id).catch((cause: unknown) => {
      throw new AppError(
        'unavailable',
        'The database does not answer, so your key cannot be checked. Is DATABASE_URL right, and does PostgreSQL run? Try again in 5 seconds.',
        { cause },
      )
    })
    if (row === undefined || !timingSafeEqual(Buffer.from(row.keySha256), Buffer.from(sha256(text)))) {
      wrong.take(limited)
      throw new AppError('unauthenticated', 'This admin key is not known here.')
    }
    known.remember(id, digest, row.keySha256)
    if (row.revoked) throw new AppError('unauthenticated', `The admin key ${row.name} was revoked.`)
    if (row.useIsStale) background.start('last use of an admin key', () => touchAdminKey(db, id))
    return { id, name: row.name }
  }

  return {
    async ensureFirst() {
      if ((await countAdminKeys(db)).made > 0) return undefined
      return await db.transaction().execute(async (trx) => {
        await lockAdminKeys(trx)
        if ((await countAdminKeys(trx)).made > 0) return undefined
        return (await insert(trx, 'first', 'first start')).key
      })
    },
    async create(name, by) {
      return await db.transaction().execute((trx) => insert(trx, name, by))
    },
    async verify(text, address) {
      try {
        return await check(text, address)
      } catch (error) {
        if (error instanceof AppError && error.code !== 'unavailable') {
          await refusals.record(address, { kind: 'admin.refused', data: { address, code: error.code } })
        }
        throw error
      }
    },
    list: () => listAdminKeys(db),
    async revoke(id, by) {
      await db.transaction().execute(async (trx) => {
        await lockAdminKeys(trx)
        if ((await findAdminKey(trx, id)) === undefined) {
          throw new AppError('not_found', `There is no admin key ${id}.`)
        }
        if (!(await revokeAdminKey(trx, id))) return
        if ((await countAdminKeys(trx)).live === 0) {
          throw new AppError('conflict', `${id} is the last admin key; make another one before revoking it.`)
        }
        await appendEvents(trx, [{ kind: 'admin_key.revoked', data: { adminKeyId: id, by } }])
      })
    },
    [Symbol.asyncDispose]: () => background[Symbol.asyncDispose](),
  }
}

async function insert(trx: Executor, name: string, by: string): Promise<{ id: AdminKeyId; key: Secret }> {
  const tail = mintKeyId()
  const id = `adm_${tail}` as AdminKeyId
  const key = composeKey('tca', tail, mintSecret())
  await insertAdminKey(trx, { id, name, keySha256: sha256(key.reveal()) })
  await appendEvents(trx, [{ kind: 'admin_key.created', data: { adminKeyId: id, name, by } }])
  return { id, key }
}
