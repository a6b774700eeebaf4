import { LRUCache } from 'lru-cache'
import type { MintedSpec, MintedSpecs } from '../../catalog/index.ts'
import { isKeyPem, type Log, type PrincipalId, type Secret } from '../../core/index.ts'
import type { CredentialRow } from '../../store/index.ts'
import { chooseCredential, type OpeningKey, openCredential } from '../../vault/index.ts'
import type { Mint } from './mint/mint.ts'
import { mintOrder } from './mint/recipe.ts'
import type { MintFailure } from './mint/settle.ts'
import { specOf } from './needs.ts'

/** A value to inject; `key` names it, and what else must not come back, among all that an answer is searched for. */
export interface Value {
  secret: Secret
  key: string
  former: string[]
  mintedId: string | undefined
}

export interface Values {
  /**
   * The value of a credential for one person, out of the rows read for them; undefined where there is none. Asks for a
   * token only if it is `wanted` here; otherwise the answer is searched for one that there is. Throws `unavailable`
   * when the database must be asked for tokens and cannot be.
   */
  valueOf(
    credential: string,
    minted: MintedSpecs,
    rows: readonly CredentialRow[],
    principalId: PrincipalId,
    wanted: boolean,
  ): Promise<Value | 'credential_unreadable' | MintFailure | undefined>
  /** Opens a stored one; throws `internal` when this proxy does not hold its key. */
  openRow(row: CredentialRow): Promise<Secret>
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
    const secret = await openCredential(options.keys, row)
    opened.set(key, secret)
    return secret
  }

  async function stored(
    name: string,
    rows: readonly CredentialRow[],
    principalId: PrincipalId,
  ): Promise<Value | 'credential_unreadable' | undefined> {
    const row = chooseCredential(rows, name, principalId)
    if (row === undefined) return undefined
    try {
      const secret = await openRow(row)
      // What is for signing or for TLS never goes into a request, in whatever slot.
      return isKeyPem(secret.reveal())
        ? 'credential_unreadable'
        : { secret, key: row.sealed, former: [], mintedId: undefined }
    } catch (err) {
      options.log.error({ err, credential: row.name }, 'credential cannot be opened')
      return 'credential_unreadable'
    }
  }

  async function minting(
    name: string,
    spec: MintedSpec,
    rows: readonly CredentialRow[],
    principalId: PrincipalId,
    wanted: boolean,
  ): Promise<Value | MintFailure | undefined> {
    const order = mintOrder(name, spec, rows, principalId)
    if (order === undefined) return undefined
    const token = await (wanted ? options.mint.token(order) : options.mint.existing(order))
    if (token === undefined) return undefined
    if (!token.ok) return token.reason
    const former = token.former.map((each) => each.reveal())
    return { secret: token.secret, key: token.key, former, mintedId: token.id }
  }

  return {
    valueOf(credential, minted, rows, principalId, wanted) {
      const spec = specOf(minted, credential)
      return spec === undefined
        ? stored(credential, rows, principalId)
        : minting(credential, spec, rows, principalId, wanted)
    },
    openRow,
  }
}
