import { LRUCache } from 'lru-cache'
import type { MintedSpecs } from '../../catalog/index.ts'
import { isKeyPem, type Log, type PrincipalId, type Secret } from '../../core/index.ts'
import type { CredentialRow } from '../../store/index.ts'
import { chooseCredential, type OpeningKey, openCredential } from '../../vault/index.ts'
import type { Mint } from './mint/mint.ts'
import { type MintOrder, mintOrder, tokenId } from './mint/recipe.ts'
import type { MintFailure } from './mint/settle.ts'
import { type Needs, specOf } from './needs.ts'

/** What was read of the vault for one person, and what can be minted from it, by name. */
export interface Reading {
  rows: readonly CredentialRow[]
  orders: ReadonlyMap<string, { order: MintOrder; tokenId: string } | undefined>
  principalId: PrincipalId
}

/** The reading of these rows for what goes to a host. */
export function readingOf(
  { atHost, alongside }: Pick<Needs, 'atHost' | 'alongside'>,
  minted: MintedSpecs,
  rows: readonly CredentialRow[],
  principalId: PrincipalId,
): Reading {
  const orders = new Map<string, { order: MintOrder; tokenId: string } | undefined>()
  for (const name of [...atHost.map(({ credential }) => credential), ...alongside]) {
    const spec = specOf(minted, name)
    if (spec === undefined || orders.has(name)) continue
    const order = mintOrder(name, spec, rows, principalId)
    orders.set(name, order && { order, tokenId: tokenId(order) })
  }
  return { rows, orders, principalId }
}

/** A value to inject; `key` names it, and what else must not come back, among all that an answer is searched for. */
export interface Value {
  secret: Secret
  key: string
  former: string[]
  /** Of what is minted: this very token, and what it is a token for, whoever asks. */
  token: { id: string; tokenId: string } | undefined
}

export interface Values {
  /**
   * The value of a credential, out of what was read for one person; undefined where there is none for them. Asks for a
   * token only if it is `wanted` here; otherwise the answer is searched for one that there is. Throws `unavailable`
   * when the database must be asked for tokens and cannot be.
   */
  valueOf: (
    credential: string,
    reading: Reading,
    wanted: boolean,
  ) => Promise<Value | 'credential_unreadable' | MintFailure | undefined>
  /** Opens a stored one; throws `internal` when this proxy does not hold its key, and has told the log. */
  openRow: (row: CredentialRow) => Promise<Secret>
}

/** Opens what is stored and asks for what is minted. */
export function createValues(options: {
  keys: ReadonlyMap<string, OpeningKey>
  mint: Mint
  log: Log
}): Values {
  // Keyed by the sealed text, so a replaced credential is never served from here.
  const opened = new LRUCache<string, Secret>({ max: 500 })

  const openRow = async (row: CredentialRow): Promise<Secret> => {
    const key = `${row.name} ${row.scope} ${row.scopeId} ${row.sealed}`
    const kept = opened.get(key)
    if (kept !== undefined) return kept
    try {
      const secret = await openCredential(options.keys, row)
      opened.set(key, secret)
      return secret
    } catch (err) {
      options.log.error({ err, credential: row.name }, 'credential cannot be opened')
      throw err
    }
  }

  async function stored(
    name: string,
    { rows, principalId }: Reading,
  ): Promise<Value | 'credential_unreadable' | undefined> {
    const row = chooseCredential(rows, name, principalId)
    if (row === undefined) return undefined
    try {
      const secret = await openRow(row)
      // What is for signing or for TLS never goes into a request, in whatever slot.
      return isKeyPem(secret.reveal())
        ? 'credential_unreadable'
        : { secret, key: row.sealed, former: [], token: undefined }
    } catch {
      return 'credential_unreadable'
    }
  }

  async function minting(
    { order, tokenId }: { order: MintOrder; tokenId: string },
    wanted: boolean,
  ): Promise<Value | MintFailure | undefined> {
    const token = await (wanted ? options.mint.token(order) : options.mint.existing(order))
    if (token === undefined) return undefined
    if (!token.ok) return token.reason
    const former = token.former.map((each) => each.reveal())
    return { secret: token.secret, key: token.key, former, token: { id: token.id, tokenId } }
  }

  return {
    async valueOf(credential, reading, wanted) {
      if (!reading.orders.has(credential)) return await stored(credential, reading)
      const ordered = reading.orders.get(credential)
      return ordered === undefined ? undefined : await minting(ordered, wanted)
    },
    openRow,
  }
}
