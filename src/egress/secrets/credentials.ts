import { LRUCache } from 'lru-cache'
import type { EgressRule } from '../../catalog/index.ts'
import { AppError, type Log, type PrincipalId, type Secret } from '../../core/index.ts'
import { type CredentialRow, credentialsFor, type Store } from '../../store/index.ts'
import { chooseCredential, type OpeningKey, openCredential } from '../../vault/index.ts'
import { type Injection, injectable, renderInjection } from './inject.ts'
import { compileSecrets, type ScrubForms } from './scrub.ts'

/** What a route needs of the vault: what to put on the wire, and what must never come back. */
export type Armed =
  | { ok: true; injections: Injection[]; forms: ScrubForms | undefined }
  | {
      ok: false
      reason: 'credential_missing' | 'credential_unreadable' | 'injection_forbidden'
      credential: string
    }

export interface Credentials {
  /**
   * Opens what `rule` injects for this principal, and what any rule of the same source injects at the same host:
   * an answer is searched for all of that. Throws `unavailable` when the database cannot be asked.
   */
  arm(rule: EgressRule, rules: readonly EgressRule[], principalId: PrincipalId): Promise<Armed>
  invalidate(): void
}

export function createCredentials(options: {
  store: Store
  keys: ReadonlyMap<string, OpeningKey>
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
    async arm(rule, rules, principalId) {
      const atHost = rules.filter((other) => other.host === rule.host).flatMap((other) => other.inject)
      if (atHost.length === 0) return { ok: true, injections: [], forms: undefined }
      const names = [...new Set(atHost.map((binding) => binding.credential))].sort()
      const rows = await rowsFor(names, principalId)
      const injections: Injection[] = []
      const secrets: string[] = []
      const sealed: string[] = []
      const slots = new Set<string>()
      for (const binding of atHost) {
        const wanted = rule.inject.includes(binding)
        const row = chooseCredential(rows, binding.credential, principalId)
        const refuse = (reason: Exclude<Armed, { ok: true }>['reason']): Armed => ({
          ok: false,
          reason,
          credential: binding.credential,
        })
        if (wanted && (!injectable(binding.header) || slots.has(binding.header))) {
          return refuse('injection_forbidden')
        }
        if (row === undefined) {
          if (wanted) return refuse('credential_missing')
          continue
        }
        let secret: Secret
        try {
          secret = await openRow(row)
        } catch (err) {
          options.log.error({ err, credential: row.name }, 'credential cannot be opened')
          return refuse('credential_unreadable')
        }
        const injection = renderInjection(binding, secret)
        if (injection === undefined) {
          if (wanted) return refuse('credential_unreadable')
          continue
        }
        secrets.push(...readings(binding.format, secret.reveal()))
        sealed.push(row.sealed)
        if (!wanted) continue
        slots.add(binding.header)
        injections.push(injection)
      }
      return { ok: true, injections, forms: secrets.length === 0 ? undefined : formsOf(sealed, secrets) }
    },
    invalidate: () => rowsKept.clear(),
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

/** The secret, and what an upstream reads out of it when it is a user and password in base64. */
function readings(format: string, secret: string): string[] {
  if (!/^basic /i.test(format) || !/^[A-Za-z0-9+/]+={0,2}$/.test(secret)) return [secret]
  const decoded = Buffer.from(secret, 'base64').toString('latin1')
  const password = decoded.slice(decoded.indexOf(':') + 1)
  return [secret, decoded, password].filter((text) => text.length >= 4)
}
