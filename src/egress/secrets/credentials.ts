import { LRUCache } from 'lru-cache'
import {
  type Binding,
  type EgressRule,
  type MintedSpec,
  type MintedSpecs,
  parseSlot,
  slotsOverlap,
} from '../../catalog/index.ts'
import { AppError, isKeyPem, type Log, type PrincipalId, type Secret } from '../../core/index.ts'
import { type CredentialRow, credentialsFor, type Store } from '../../store/index.ts'
import { chooseCredential, type OpeningKey, openCredential, placeholderFor } from '../../vault/index.ts'
import type { Arms } from './arrange.ts'
import { armIdentity } from './client-identity.ts'
import { createSearches, type Found, type Search } from './live-forms.ts'
import type { Mint } from './mint/mint.ts'
import { mintOrder, missingInput } from './mint/recipe.ts'
import type { MintFailure } from './mint/settle.ts'
import { type Needs, needsOf, specOf } from './needs.ts'
import { bytesOf, compileSecrets, type ScrubForms } from './scrub.ts'
import { armSigner } from './sign/arm.ts'
import { type Bound, filled, type StandIn } from './slot.ts'

/** What a route needs of the vault, or why it cannot be had; then the request is refused, never sent without. */
export type Armed =
  | { ok: true; arms: Arms }
  | { ok: false; reason: 'credential_missing' | 'injection_forbidden' | MintFailure; credential: string }

export interface Credentials {
  /**
   * Opens what `rule` injects for this principal, and whatever else goes to the same host by any rule of the source:
   * all answers of the host to this person are searched for all of that, those under way too. What is `minted` is
   * minted first; a failing mint is a refusal. Rejects with `unavailable` when the database cannot be asked; what is
   * known already comes at once.
   */
  arm(
    rule: EgressRule,
    rules: readonly EgressRule[],
    minted: MintedSpecs,
    principalId: PrincipalId,
  ): Armed | Promise<Armed>
  /** Forgets what was read: something changed. */
  invalidate(): void
  /** A credential was set, rotated or removed: answers under way are searched for what there is now. */
  changed(): void
}

export function createCredentials(options: {
  store: Store
  keys: ReadonlyMap<string, OpeningKey>
  mint: Mint
  maxAgeMs: number
  log: Log
}): Credentials {
  const kept = new LRUCache<string, Kept>({ max: 2_000, ttl: options.maxAgeMs })
  // Keyed by the sealed text, so a replaced credential is never served from here.
  const opened = new LRUCache<string, Secret>({ max: 500 })
  const compiled = new LRUCache<string, ScrubForms>({ maxSize: preparedBytes, sizeCalculation: bytesOf })
  const searches = createSearches<Arming>(compile)
  const standInsKept = new WeakMap<readonly EgressRule[], LRUCache<PrincipalId, readonly StandIn[]>>()

  const keptFor = ({ names, key }: Needs, principalId: PrincipalId): Kept => {
    const whose = `${principalId} ${key}`
    let entry = kept.get(whose)
    if (entry === undefined) {
      const rows = credentialsFor(options.store.db, { names, principalId }).catch((cause: unknown) => {
        kept.delete(whose)
        throw new AppError('unavailable', 'credentials cannot be read', { cause })
      })
      entry = { rows, armed: new Map() }
      kept.set(whose, entry)
    }
    return entry
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
    arm(rule, rules, minted, principalId) {
      const standIns = standInsOf(rules, principalId)
      const needs = needsOf(rule, rules, minted)
      if (needs.names.length === 0) return { ok: true, arms: { ...unarmed, standIns } }
      const { rows, armed } = keptFor(needs, principalId)
      const asked = { rule, needs, minted, standIns, principalId }
      // A token may be another one for the next request; what is stored is the same as long as its rows are.
      if (needs.mints) return rows.then((read) => armWith(asked, read))
      let found = armed.get(rule)
      if (found === undefined) {
        found = rows.then((read) => armWith(asked, read))
        armed.set(rule, found)
        found.then(
          (settled) => armed.set(rule, settled),
          () => armed.delete(rule),
        )
      }
      return found
    },
    invalidate: () => kept.clear(),
    changed() {
      for (const search of searches.inUse())
        again(search).catch((err: unknown) =>
          options.log.warn({ err }, 'answers under way could not be searched for what is new'),
        )
    },
  }

  async function again({ forms, asked }: Search<Arming>): Promise<void> {
    const { needs, minted, principalId } = asked
    const rows = await credentialsFor(options.store.db, { names: needs.names, principalId })
    const found = new Map<string, string[]>()
    for (const binding of needs.atHost) {
      const value = await valueOf(binding.credential, minted, rows, principalId, false)
      if (typeof value === 'object') found.set(...searched(binding, value))
    }
    await addAlongside(found, asked, rows)
    forms.add(found)
  }

  async function armWith(asked: Arming, rows: CredentialRow[]): Promise<Armed> {
    const { rule, needs, minted, standIns, principalId } = asked
    const mintedIds: string[] = []
    const bound: Bound[] = []
    const found = new Map<string, string[]>()
    for (const binding of needs.atHost) {
      const { credential } = binding
      const wanted = rule.inject.includes(binding)
      const value = await valueOf(credential, minted, rows, principalId, wanted)
      if (value === undefined) {
        if (wanted) {
          // Of what is minted it is a part that is missing, and that is what can be set.
          const spec = specOf(minted, credential)
          const missing = spec === undefined ? credential : missingInput(spec, rows, principalId)
          return { ok: false, reason: 'credential_missing', credential: missing }
        }
        continue
      }
      // One that is stored and cannot be opened could come back unrecognised.
      if (typeof value === 'string') return { ok: false, reason: value, credential }
      found.set(...searched(binding, value))
      if (!wanted) continue
      const each = bind(binding, value.secret, principalId)
      if (each === undefined || bound.some(({ slot }) => slotsOverlap(slot, each.slot)))
        return { ok: false, reason: 'injection_forbidden', credential }
      if (!fits(each)) return { ok: false, reason: 'credential_unreadable', credential }
      if (value.mintedId !== undefined) mintedIds.push(value.mintedId)
      bound.push(each)
    }
    const signing =
      rule.sign === undefined ? undefined : await armSigner(rule.sign, rows, principalId, openRow)
    if (signing?.ok === false) return signing
    const closed = await addAlongside(found, asked, rows)
    if (closed !== undefined) return { ok: false, ...closed }
    const { client_certificate: shown } = rule
    const armed = shown === undefined ? undefined : await armIdentity(shown, rows, principalId, openRow)
    if (armed?.ok === false) return armed
    // Where a token may yet be minted an answer that begins without one is searched, too.
    const forms =
      found.size === 0 && !needs.mints ? undefined : searches.of(`${principalId} ${rule.host}`, asked)
    forms?.add(found)
    const rejected = () => mintedIds.forEach((id) => options.mint.rejected(id))
    const signer = signing?.signer
    const identity = armed?.identity
    const vouched = forms !== undefined || signer !== undefined || identity !== undefined
    return { ok: true, arms: { bound, forms, standIns, signer, identity, vouched, rejected } }
  }

  /** What goes to the host without a slot: beside a signature, or from the proxy itself to a token endpoint. */
  async function addAlongside(
    found: Map<string, string[]>,
    { needs, minted, principalId }: Arming,
    rows: readonly CredentialRow[],
  ): Promise<{ reason: 'credential_unreadable' | MintFailure; credential: string } | undefined> {
    for (const credential of needs.alongside) {
      const value = await valueOf(credential, minted, rows, principalId, false)
      if (typeof value === 'string') return { reason: value, credential }
      if (value === undefined) continue
      const secret = value.secret.reveal()
      // RFC 6749 section 2.3.1: in a Basic header to a token endpoint it is form-encoded first.
      const encoded = new URLSearchParams({ '': secret }).toString().slice(1)
      found.set(`alongside ${value.key}`, [secret, ...(encoded === secret ? [] : [encoded]), ...value.former])
    }
    return undefined
  }

  /** Asks for a token only if it is `wanted` here; otherwise the answer is searched for one that there is. */
  function valueOf(
    credential: string,
    minted: MintedSpecs,
    rows: readonly CredentialRow[],
    principalId: PrincipalId,
    wanted: boolean,
  ): Promise<Value | 'credential_unreadable' | MintFailure | undefined> {
    const spec = specOf(minted, credential)
    return spec === undefined
      ? stored(credential, rows, principalId)
      : minting(credential, spec, rows, principalId, wanted)
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

  function standInsOf(rules: readonly EgressRule[], principalId: PrincipalId): readonly StandIn[] {
    const byPerson = standInsKept.get(rules) ?? new LRUCache({ max: 1_000 })
    standInsKept.set(rules, byPerson)
    let standIns = byPerson.get(principalId)
    if (standIns === undefined) {
      standIns = standInsFor(rules, principalId)
      byPerson.set(principalId, standIns)
    }
    return standIns
  }

  function compile(found: Found): ScrubForms {
    const key = [...found.keys()].sort().join('\n')
    let forms = compiled.get(key)
    if (forms === undefined) {
      forms = compileSecrets([...found.values()].flat())
      compiled.set(key, forms)
    }
    return forms
  }
}

/** Bytes that all searches made ready may hold: five hundred ordinary keys, or some of the longest tokens. */
const preparedBytes = 96 * 1024 * 1024

/** What was read for a person and some names, and what came of it for each rule. */
interface Kept {
  rows: Promise<CredentialRow[]>
  armed: Map<EgressRule, Armed | Promise<Armed>>
}

interface Arming {
  rule: EgressRule
  needs: Needs
  minted: MintedSpecs
  standIns: readonly StandIn[]
  principalId: PrincipalId
}

/** A value to inject; `key` names it, and what else must not come back, among all that an answer is searched for. */
interface Value {
  secret: Secret
  key: string
  former: string[]
  mintedId: string | undefined
}

const unarmed: Omit<Arms, 'standIns'> = {
  bound: [],
  forms: undefined,
  signer: undefined,
  identity: undefined,
  vouched: false,
  rejected: () => undefined,
}

function bind(binding: Binding, secret: Secret, principalId: PrincipalId): Bound | undefined {
  const slot = parseSlot(binding.into)
  if (slot === undefined) return undefined
  return { binding, slot, secret, placeholder: placeholderOf(binding, principalId) }
}

function placeholderOf(binding: Binding, principalId: PrincipalId): string | undefined {
  return binding.placeholder ? placeholderFor(binding.credential, principalId, binding.prefix) : undefined
}

/** Whether the slot can carry the value whole; nothing is altered to make it fit. */
function fits(bound: Bound): boolean {
  const value = filled(bound)
  // No control character but the tab.
  if (!/^[\t\x20-\x7e\x80-\u{10ffff}]*$/u.test(value)) return false
  const { kind } = bound.slot
  if (kind === 'header') return /^[\t\x20-\x7e\x80-\xff]*$/.test(value)
  if (kind === 'basic') return value.includes(':')
  return kind !== 'path' || !/^\.{0,2}$/.test(value)
}

function standInsFor(rules: readonly EgressRule[], principalId: PrincipalId): StandIn[] {
  const byText = new Map<string, StandIn>()
  for (const binding of rules.flatMap((rule) => rule.inject)) {
    const text = placeholderOf(binding, principalId)
    if (text !== undefined) byText.set(text, { credential: binding.credential, text })
  }
  return [...byText.values()]
}

function searched(binding: Binding, value: Value): [string, string[]] {
  return [`${binding.into} ${value.key}`, [...readings(binding, value.secret.reveal()), ...value.former]]
}

/** The secret, and what an upstream reads out of it when it is a user and password. */
function readings({ into, format }: Binding, secret: string): string[] {
  const inBase64 = /^basic /i.test(format) && /^[A-Za-z0-9+/]+={0,2}$/.test(secret)
  const pair = inBase64 ? Buffer.from(secret, 'base64').toString('latin1') : into === 'basic' ? secret : ''
  const colon = pair.indexOf(':')
  const password = pair.slice(colon + 1)
  // Some services take a key for the user, with a password that is empty or that everybody knows.
  const open = password.length < 4 || password === 'x-oauth-basic'
  const user = open && colon !== -1 ? pair.slice(0, colon) : ''
  return [secret, ...[pair, password, user].filter((text) => text.length >= 4)]
}
