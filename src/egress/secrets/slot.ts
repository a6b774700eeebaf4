import type { Binding, Slot } from '../../catalog/index.ts'
import type { Secret } from '../../core/index.ts'

/** A credential opened for one request, and where it may stand. */
export interface Bound {
  binding: Binding
  slot: Slot
  secret: Secret
  /** What must stand in the slot to be replaced; undefined: the credential is put there whatever the caller sent. */
  placeholder: string | undefined
}

/** A placeholder that a person's sandbox may hold. */
export interface StandIn {
  credential: string
  text: string
}

/** Why a credential is not put where the rule says, and then the request is not sent at all. */
export type PlacementRefusal =
  | 'slot_missing'
  | 'placeholder_missing'
  | 'placeholder_repeated'
  | 'body_encoded'
  | 'body_malformed'
  | 'body_too_large'

/** What stands in the slot, in the end and before. */
export function filled(bound: Bound): string {
  return fill(bound.binding.format, bound.secret.reveal())
}

/**
 * Whether what the caller has in the slot is to be replaced. With a placeholder it must be that, and nothing else:
 * a key of the caller's own would take the request to somebody else's account.
 */
export function replaces(bound: Bound, own: string): boolean {
  if (bound.placeholder === undefined) return true
  const expected = fill(bound.binding.format, bound.placeholder)
  // `bearer` is written in either case; the placeholder is not.
  return own.toLowerCase() === expected.toLowerCase() && own.includes(bound.placeholder)
}

function fill(format: string, value: string): string {
  const [before = '', after = ''] = format.split('{value}')
  return before + value + after
}

/** What became of a slot: `used` says that the credential is in it now. */
export type Placed<T> = { ok: true; now: T; used: boolean } | { ok: false; reason: PlacementRefusal }

export const refused = (reason: PlacementRefusal) => ({ ok: false, reason }) as const
