import { LRUCache } from 'lru-cache'
import {
  type Binding,
  type EgressRule,
  type MintedSpecs,
  parseSlot,
  slotsOverlap,
} from '../../catalog/index.ts'
import { AppError, type Log, type PrincipalId, type Secret } from '../../core/index.ts'
import { type CredentialRow, credentialsFor, type Store } from '../../store/index.ts'
import { type OpeningKey, placeholderFor } from '../../vault/index.ts'
import type { Arms } from './arrange.ts'
import { armIdentity } from './client-identity.ts'
import { createSearches, type Found, type Search } from './live-forms.ts'
import type { Mint } from './mint/mint.ts'
import { missingInput } from './mint/recipe.ts'
import type { MintFailure } from './mint/settle.ts'
import { type Needs, needsOf, specOf } from './needs.ts'
import { readings } from './readings.ts'
import { bytesOf, compileSecrets, type ScrubForms } from './scrub.ts'
import { armSigner } from './sign/arm.ts'
import { type Bound, filled, type StandIn } from './slot.ts'
import { createValues, type Value } from './values.ts'

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
  const { valueOf, openRow } = createValues(options)
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
  const values = [value.secret.reveal(), ...value.former]
  return [`${binding.into} ${binding.format} ${value.key}`, values.flatMap((each) => readings(binding, each))]
}
