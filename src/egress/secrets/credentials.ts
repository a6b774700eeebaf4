import { LRUCache } from 'lru-cache'
import {
  type EgressRule,
  type MintedSpec,
  type MintedSpecs,
  mintInputs,
  signInputs,
} from '../../catalog/index.ts'
import { AppError, isPrivateKeyPem, type Log, type PrincipalId, type Secret } from '../../core/index.ts'
import { type CredentialRow, credentialsFor, type Store } from '../../store/index.ts'
import { chooseCredential, type OpeningKey, openCredential } from '../../vault/index.ts'
import { type Injection, injectable, renderInjection } from './inject.ts'
import type { Mint } from './mint/mint.ts'
import { mintOrder } from './mint/recipe.ts'
import type { MintFailure } from './mint/settle.ts'
import { compileSecrets, type ScrubForms } from './scrub.ts'
import { armSigner } from './sign/arm.ts'
import type { Signer } from './sign/signer.ts'

/** What a route needs of the vault: what to put on the wire, and what must never come back. */
export type Armed =
  | {
      ok: true
      injections: Injection[]
      forms: ScrubForms | undefined
      signer: Signer | undefined
      rejected: () => void
    }
  | {
      ok: false
      reason: 'credential_missing' | 'injection_forbidden' | MintFailure
      credential: string
    }

export interface Credentials {
  /**
   * Opens what `rule` injects for this principal, and what any rule of the same source injects at the same host:
   * an answer is searched for all of that. What is `minted` is minted first; a failing mint is a refusal. Throws
   * `unavailable` when the database cannot be asked.
   */
  arm(
    rule: EgressRule,
    rules: readonly EgressRule[],
    minted: MintedSpecs,
    principalId: PrincipalId,
  ): Promise<Armed>
  invalidate(): void
}

export function createCredentials(options: {
  store: Store
  keys: ReadonlyMap<string, OpeningKey>
  mint: Mint
  maxAgeMs: number
  log: Log
}): Credentials {
  const rowsKept = new LRUCache<string, Promise<CredentialRow[]>>({ max: 2_000, ttl: options.maxAgeMs })
  // Keyed by the sealed text, so a replaced credential is never served from here.
  const opened = new LRUCache<string, Secret>({ max: 500 })
  const compiled = new LRUCache<string, ScrubForms>({ max: 500 })

  const rowsFor = (names: string[], principalId: PrincipalId): Promise<CredentialRow[]> => {
    const key = [principalId, ...names].join(' ')
    let rows = rowsKept.get(key)
    if (rows === undefined) {
      rows = credentialsFor(options.store.db, { names, principalId }).catch((cause: unknown) => {
        rowsKept.delete(key)
        throw new AppError('unavailable', 'credentials cannot be read', { cause })
      })
      rowsKept.set(key, rows)
    }
    return rows
  }

  const openRow = async (row: CredentialRow): Promise<Secret> => {
    const key = `${row.name} ${row.scope} ${row.scopeId} ${row.sealed}`
    const kept = opened.get(key)
    if (kept !== undefined) return kept
    const secret = await openCredential(options.keys, row)
    opened.set(key, secret)
    return secret
  }

  return {
    async arm(rule, rules, minted, principalId) {
      const atHost = rules.filter((other) => other.host === rule.host).flatMap((other) => other.inject)
      if (atHost.length === 0 && rule.sign === undefined) return nothingArmed
      const bound = atHost.map((binding) => binding.credential).flatMap((name) => storedNames(minted, name))
      const names = [...new Set([...bound, ...(rule.sign === undefined ? [] : signInputs(rule.sign))])].sort()
      const rows = await rowsFor(names, principalId)
      const mintedIds: string[] = []
      const injections: Injection[] = []
      const secrets: string[] = []
      const sealed: string[] = []
      const slots = new Set<string>()
      for (const binding of atHost) {
        const wanted = rule.inject.includes(binding)
        const refuse = (reason: Exclude<Armed, { ok: true }>['reason']): Armed => ({
          ok: false,
          reason,
          credential: binding.credential,
        })
        if (wanted && (!injectable(binding.header) || slots.has(binding.header))) {
          return refuse('injection_forbidden')
        }
        const spec = Object.hasOwn(minted, binding.credential) ? minted[binding.credential] : undefined
        const value = await (spec === undefined
          ? stored(binding.credential, rows, principalId)
          : minting(binding.credential, spec, rows, principalId, wanted))
        if (value === undefined) {
          if (wanted) return refuse('credential_missing')
          continue
        }
        if (typeof value === 'string') return refuse(value)
        const { secret } = value
        const injection = renderInjection(binding, secret)
        if (injection === undefined) {
          if (wanted) return refuse('credential_unreadable')
          continue
        }
        secrets.push(...readings(binding.format, secret.reveal()), ...value.former)
        sealed.push(value.key)
        if (!wanted) continue
        if (value.mintedId !== undefined) mintedIds.push(value.mintedId)
        slots.add(binding.header)
        injections.push(injection)
      }
      const signing =
        rule.sign === undefined ? undefined : await armSigner(rule.sign, rows, principalId, openRow)
      if (signing?.ok === false) return signing
      for (const { row, secret } of signing?.sent ?? []) {
        secrets.push(secret.reveal())
        sealed.push(row.sealed)
      }
      return {
        ok: true,
        injections,
        forms: secrets.length === 0 ? undefined : formsOf(sealed, secrets),
        signer: signing?.signer,
        rejected: () => mintedIds.forEach((id) => options.mint.rejected(id)),
      }
    },
    invalidate: () => rowsKept.clear(),
  }

  /** Undefined where there is none for this person. */
  async function stored(
    name: string,
    rows: readonly CredentialRow[],
    principalId: PrincipalId,
  ): Promise<Value | 'credential_unreadable' | undefined> {
    const row = chooseCredential(rows, name, principalId)
    if (row === undefined) return undefined
    try {
      const secret = await openRow(row)
      // What is for signing only never goes on the wire, in whatever slot.
      return isPrivateKeyPem(secret.reveal())
        ? 'credential_unreadable'
        : { secret, key: row.sealed, former: [], mintedId: undefined }
    } catch (err) {
      options.log.error({ err, credential: row.name }, 'credential cannot be opened')
      return 'credential_unreadable'
    }
  }

  /** Asks for a token only if it is `wanted` here; otherwise the answer is searched for one that there is. */
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
    const former = token.former === undefined ? [] : [token.former.reveal()]
    return { secret: token.secret, key: token.key, former, mintedId: token.id }
  }

  function formsOf(sealed: string[], secrets: string[]): ScrubForms {
    const key = sealed.join(' ')
    let forms = compiled.get(key)
    if (forms === undefined) {
      forms = compileSecrets(secrets)
      compiled.set(key, forms)
    }
    return forms
  }
}

/** A value to inject; `key` names it, and what else must not come back, among all that an answer is searched for. */
interface Value {
  secret: Secret
  key: string
  former: string[]
  mintedId: string | undefined
}

const nothingArmed: Armed = {
  ok: true,
  injections: [],
  forms: undefined,
  signer: undefined,
  rejected: () => undefined,
}

/** What must be read of the vault for a credential of this name. */
function storedNames(minted: MintedSpecs, name: string): string[] {
  const spec = Object.hasOwn(minted, name) ? minted[name] : undefined
  return spec === undefined ? [name] : mintInputs(spec)
}

/** The secret, and what an upstream reads out of it when it is a user and password in base64. */
function readings(format: string, secret: string): string[] {
  if (!/^basic /i.test(format) || !/^[A-Za-z0-9+/]+={0,2}$/.test(secret)) return [secret]
  const decoded = Buffer.from(secret, 'base64').toString('latin1')
  const password = decoded.slice(decoded.indexOf(':') + 1)
  return [secret, decoded, password].filter((text) => text.length >= 4)
}
