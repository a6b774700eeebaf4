import {
  AppError,
  type CredentialId,
  isCertificatePem,
  isKeyPem,
  type Log,
  newId,
  type PrincipalId,
  type Secret,
} from '../core/index.ts'
import {
  appendEvents,
  deleteCredential,
  egressKeys,
  isMissingReference,
  listCredentialNames,
  notify,
  principalExists,
  putCredential,
  type Store,
} from '../store/index.ts'
import { normalKey } from './private-key.ts'
import { sealTo } from './seal.ts'

/** Which credential: a name, and for whom. `scopeId` is the principal's id, or '' for everybody. */
export interface CredentialTarget {
  name: string
  scope: 'global' | 'principal'
  scopeId: string
}

export interface StoredCredential {
  id: CredentialId
  name: string
  scope: 'global' | 'profile' | 'principal'
  scopeId: string
  keyId: string
  updatedAt: Date
  updatedBy: string
}

/** The gateway's side: it can store a credential and can never read one back. */
export interface Vault {
  /**
   * Seals the value to the newest egress key and stores it, in place of an older one. Throws `invalid_input` for
   * a value that cannot travel in a header and is no private key in PEM (which is for signing or for TLS and never
   * travels), or that answers cannot be searched for: too short, a word of JSON, a short number;
   * `not_found` for an unknown principal, `unavailable` while no egress proxy has published a key.
   */
  setCredential(target: CredentialTarget & { value: Secret; by: string }): Promise<void>
  /** Throws what `setCredential` would throw of such a target whatever the value is. */
  checkTarget(target: CredentialTarget): Promise<void>
  /** Names and dates, never values. */
  listCredentials(): Promise<StoredCredential[]>
  /** Throws `not_found` when there is none; from then on requests that need it are refused. */
  removeCredential(target: CredentialTarget & { by: string }): Promise<void>
}

const maxBytes = 64 * 1024
/** A shorter value stands in any text by chance: to mask it would destroy answers, and hide nothing. */
const minLength = 4
/** A shorter number stands in others by chance, such as ids and times. */
const minDigits = 8

export function createVault({ store, log }: { store: Store; log: Log }): Vault {
  async function newestKey() {
    const [key] = await egressKeys(store.db)
    if (key !== undefined) return key
    throw new AppError(
      'unavailable',
      'no egress proxy has published its key yet; start `toolcrib egress` once, then set the credential again',
    )
  }

  async function demandOwner({ scope, scopeId }: CredentialTarget): Promise<void> {
    if (scope === 'principal' && !(await principalExists(store.db, scopeId)))
      throw new AppError('not_found', `there is no principal ${JSON.stringify(scopeId)}`)
  }

  /** The key may be retired between the look and the write; the database then refuses, and the newest is taken. */
  async function sealAndStore(set: CredentialTarget & { value: Secret; by: string }): Promise<string> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await sealAndStoreOnce(set)
      } catch (error) {
        if (attempt === 3 || !isMissingReference(error)) throw error
      }
    }
  }

  async function sealAndStoreOnce({
    value,
    by,
    ...target
  }: CredentialTarget & { value: Secret; by: string }): Promise<string> {
    const { name, scope } = target
    const key = await newestKey()
    const sealed = await sealTo(key.publicKey, value, { keyId: key.id, ...target })
    await store.db.transaction().execute(async (tx) => {
      await putCredential(tx, { id: newId('crd'), ...target, keyId: key.id, sealed, by })
      await appendEvents(tx, [
        {
          kind: 'credential.set',
          ...principalOf(target),
          data: { credential: name, scope, keyId: key.id, by },
        },
      ])
      await notify(tx, { kind: 'credential' })
    })
    return key.id
  }

  return {
    async setCredential({ name, scope, scopeId, value, by }) {
      checkSpelling({ name, scope, scopeId })
      const stored = storable(name, value)
      await demandOwner({ name, scope, scopeId })
      const keyId = await sealAndStore({ name, scope, scopeId, value: stored, by })
      log.info({ credential: name, scope, keyId, by }, 'credential set')
    },

    async checkTarget(target) {
      checkSpelling(target)
      await demandOwner(target)
      await newestKey()
    },

    listCredentials: () => listCredentialNames(store.db),

    async removeCredential({ name, scope, scopeId, by }) {
      checkSpelling({ name, scope, scopeId })
      await store.db.transaction().execute(async (tx) => {
        if (!(await deleteCredential(tx, { name, scope, scopeId }))) {
          throw new AppError('not_found', `there is no ${scope} credential ${name}`)
        }
        await appendEvents(tx, [
          {
            kind: 'credential.removed',
            ...principalOf({ scope, scopeId }),
            data: { credential: name, scope, by },
          },
        ])
        await notify(tx, { kind: 'credential' })
      })
      log.info({ credential: name, scope, by }, 'credential removed')
    },
  }
}

function principalOf(target: { scope: string; scopeId: string }): { principalId?: PrincipalId } {
  return target.scope === 'principal' ? { principalId: target.scopeId as PrincipalId } : {}
}

function checkSpelling({ name, scope, scopeId }: CredentialTarget): void {
  if (!/^[A-Z][A-Z0-9_]{0,99}$/.test(name)) {
    throw new AppError(
      'invalid_input',
      `${JSON.stringify(name)} is not a credential's name; use capitals, digits and underscores, e.g. ORDERS_KEY`,
    )
  }
  if ((scope === 'global') !== (scopeId === '')) {
    throw new AppError('invalid_input', 'a global credential names nobody; a principal’s names the principal')
  }
}

/** Key material in its one spelling; any other value as it is, once it is known to be fit for the wire. */
function storable(name: string, value: Secret): Secret {
  if (isKeyPem(value.reveal())) return normalKey(name, value)
  checkValue(name, value)
  return value
}

/** The value goes into a header as it is: what a header cannot carry whole is refused here, not altered there. */
function checkValue(name: string, value: Secret): void {
  const text = value.reveal()
  const refuse = (what: string, cure: string) => {
    throw new AppError('invalid_input', `the value for ${name} ${what}; ${cure}`)
  }
  if (text === '') refuse('is empty', 'give the secret on standard input')
  if (text.length > maxBytes) refuse('is longer than 64 KiB', 'a header cannot carry it')
  if (isCertificatePem(text))
    refuse('is a certificate without its private key', 'give the private key before the certificate')
  if (/[\r\n]/.test(text)) refuse('contains a line break', 'send it without one, e.g. with printf %s')
  if (text !== text.trim()) refuse('begins or ends with white space', 'send it without')
  for (const char of text) {
    const code = char.codePointAt(0) ?? 0
    if (code === 0x09) continue
    // C1 too: NEL (U+0085) is a line break to some.
    if (code < 0x20 || (code >= 0x7f && code < 0xa0))
      refuse('contains a control character', 'a header cannot carry it')
    if (code > 0xff) refuse('contains a character outside Latin-1', 'a header cannot carry it')
  }
  if (text.length < minLength)
    refuse(
      `is shorter than ${minLength} characters`,
      `answers cannot be searched for it: have the upstream give out a secret of at least ${minLength}`,
    )
  if (/^(?:true|false|null|none|undefined)$/i.test(text))
    refuse(
      'is a word of JSON or of a program',
      'it stands in nearly every answer and would be masked there: have the upstream give out a secret of its own',
    )
  if (text.length < minDigits && /^[-+]?[\d.]+(?:e[-+]?\d*)?$/i.test(text))
    refuse(
      `is a number of fewer than ${minDigits} characters`,
      `it stands in other numbers and would be masked there: have the upstream give out a secret with letters, or of at least ${minDigits}`,
    )
}
