import { LRUCache } from 'lru-cache'
import {
  type Binding,
  type EgressRule,
  type MintedSpecs,
  parseSlot,
  slotsOverlap,
} from '../../catalog/index.ts'
import { AppError, createTrouble, type Log, type PrincipalId, type Secret } from '../../core/index.ts'
import { type CredentialRow, credentialsFor, type Store } from '../../store/index.ts'
import { type OpeningKey, placeholderFor } from '../../vault/index.ts'
import type { Arms } from './arrange.ts'
import { armIdentity } from './client-identity.ts'
import type { Sought } from './live-forms.ts'
import type { Mint } from './mint/mint.ts'
import { missingInput } from './mint/recipe.ts'
import type { MintFailure } from './mint/settle.ts'
import { type Needs, needsOf, specOf } from './needs.ts'
import { createPrepared } from './prepared.ts'
import { armSigner } from './sign/arm.ts'
import { type Bound, filled, type StandIn } from './slot.ts'
import { soughtBeside, soughtIn } from './sought.ts'
import { type Asking, createUnderWay } from './under-way.ts'
import { createValues, type Reading } from './values.ts'

/** What a route needs of the vault, or why it cannot be had; then the request is refused, never sent without. */
export type Armed =
  | { ok: true; arms: Arms }
  | {
      ok: false
      reason: 'credential_missing' | 'injection_forbidden' | 'proxy_overloaded' | MintFailure
      credential: string
    }

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
  /** Looks no more after what answers under way are searched for. */
  close(): Promise<void>
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
  const underWay = createUnderWay({ ...options, valueOf, prepared: createPrepared(preparedBytes) })
  const standInsKept = new WeakMap<readonly EgressRule[], LRUCache<PrincipalId, readonly StandIn[]>>()

  const trouble = createTrouble(options.log, {
    fails: 'credentials cannot be read, and what needs one is not let out',
    lasts: 'credentials still cannot be read',
    over: 'credentials can be read again',
  })

  const keptFor = ({ names, key }: Needs, principalId: PrincipalId): Kept => {
    const whose = `${principalId} ${key}`
    let entry = kept.get(whose)
    if (entry === undefined) {
      const rows = credentialsFor(options.store.db, { names, principalId }).then(
        (read) => {
          trouble.over('credentials')
          return read
        },
        (cause: unknown) => {
          kept.delete(whose)
          trouble.happened('credentials', cause)
          throw new AppError('unavailable', 'credentials cannot be read', { cause })
        },
      )
      entry = { rows, readAt: performance.now(), armed: new Map() }
      kept.set(whose, entry)
    }
    return entry
  }

  return {
    arm(rule, rules, minted, principalId) {
      const standIns = standInsOf(rules, principalId)
      const needs = needsOf(rule, rules, minted)
      if (needs.names.length === 0) return { ok: true, arms: { ...unarmed, standIns } }
      const { rows, readAt, armed } = keptFor(needs, principalId)
      const asking = { rules, needs, minted, principalId, reading: undefined, readAt }
      const armNow = async () => await armWith(rule, asking, standIns, await rows)
      // A token may be another one for the next request; what is stored is the same as long as its rows are.
      if (needs.mints) return armNow()
      let found = armed.get(rule)
      if (found === undefined) {
        found = armNow()
        armed.set(rule, found)
        found.then(
          (settled) => armed.set(rule, settled),
          () => armed.delete(rule),
        )
      }
      return found
    },
    invalidate: () => kept.clear(),
    changed: () => underWay.changed(),
    close: () => underWay.close(),
  }

  async function armWith(
    rule: EgressRule,
    asked: Asking,
    standIns: readonly StandIn[],
    rows: readonly CredentialRow[],
  ): Promise<Armed> {
    const { needs, minted, principalId } = asked
    const place = underWay.place(principalId, rule.host)
    const asking = place.ask(asked)
    const reading = underWay.read(asking, rows, asked.readAt)
    const mintedIds: string[] = []
    const bound: Bound[] = []
    const found: Sought[] = []
    for (const binding of needs.atHost) {
      const { credential } = binding
      const wanted = rule.inject.includes(binding)
      const value = await valueOf(credential, reading, wanted)
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
      underWay.tell(value)
      found.push(soughtIn(binding, value))
      if (!wanted) continue
      const each = bind(binding, value.secret, principalId)
      if (each === undefined || bound.some(({ slot }) => slotsOverlap(slot, each.slot)))
        return { ok: false, reason: 'injection_forbidden', credential }
      if (!fits(each)) return { ok: false, reason: 'credential_unreadable', credential }
      if (value.token !== undefined) mintedIds.push(value.token.id)
      bound.push(each)
    }
    const signing =
      rule.sign === undefined ? undefined : await armSigner(rule.sign, rows, principalId, openRow)
    if (signing?.ok === false) return signing
    const closed = await addAlongside(found, needs, reading)
    if (closed !== undefined) return { ok: false, ...closed }
    const { client_certificate: shown } = rule
    const armed = shown === undefined ? undefined : await armIdentity(shown, rows, principalId, openRow)
    if (armed?.ok === false) return armed
    // Where a token may yet be minted an answer that begins without one is searched, too.
    const isSearched = found.length > 0 || needs.mints
    if (isSearched && !place.forms.add(found))
      return { ok: false, reason: 'proxy_overloaded', credential: needs.names.join(' ') }
    const signer = signing?.signer
    const identity = armed?.identity
    const arms: Arms = {
      bound,
      forms: isSearched ? place.forms : undefined,
      searching: isSearched ? () => underWay.use(place, asking, found) : unarmed.searching,
      standIns,
      signer,
      identity,
      vouched: isSearched || signer !== undefined || identity !== undefined,
      rejected: () => mintedIds.forEach((id) => options.mint.rejected(id)),
    }
    return { ok: true, arms }
  }

  /** What goes to the host without a slot: beside a signature, or from the proxy itself to a token endpoint. */
  async function addAlongside(
    found: Sought[],
    { alongside }: Needs,
    reading: Reading,
  ): Promise<{ reason: 'credential_unreadable' | MintFailure; credential: string } | undefined> {
    for (const credential of alongside) {
      const value = await valueOf(credential, reading, false)
      if (typeof value === 'string') return { reason: value, credential }
      if (value === undefined) continue
      underWay.tell(value)
      found.push(soughtBeside(credential, value))
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
}

/** For searches that are made ready: those for some seven hundred ordinary keys, or a hundred and seventy tokens of 16 KB. */
const preparedBytes = 96 * 1024 * 1024

/** What was read for a person and some names, and what came of it for each rule. */
interface Kept {
  rows: Promise<CredentialRow[]>
  readAt: number
  armed: Map<EgressRule, Armed | Promise<Armed>>
}

const unarmed: Omit<Arms, 'standIns'> = {
  bound: [],
  forms: undefined,
  searching: () => () => undefined,
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

/** Whether the slot can carry the value whole, and answers be searched for it; nothing is altered to make it fit. */
function fits(bound: Bound): boolean {
  const value = filled(bound)
  // Latin-1, as the vault takes it: no control character but the tab.
  if (!/^[\t\x20-\x7e\x80-\xff]*$/.test(value)) return false
  const { kind } = bound.slot
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
