import { randomBytes } from 'node:crypto'

/** A string that names one kind of thing and cannot be passed where another kind is expected. */
export type Brand<Kind extends string> = string & { readonly __kind: Kind }

export type PrincipalId = Brand<'prn'>
export type TokenId = Brand<'tok'>
export type CallId = Brand<'call'>
export type RunnerId = Brand<'run'>
export type LeaseId = Brand<'lse'>
export type CredentialId = Brand<'crd'>
export type AdminKeyId = Brand<'adm'>
export type ReplicaId = Brand<'rep'>
export type JobId = Brand<'job'>

const alphabet = '0123456789abcdefghjkmnpqrstvwxyz' // Crockford's base 32: no i, l, o, u

/** `length` characters of Crockford base 32 from the system's random source, 5 bits each. */
export function randomText(length: number): string {
  if (used + length > pool.length) {
    pool = randomBytes(Math.max(poolBytes, length))
    used = 0
  }
  let text = ''
  for (const end = used + length; used < end; used++) text += alphabet[(pool[used] ?? 0) & 31]
  return text
}

/** Drawn in advance: asking the system for every id costs more than the rest of making one. Each byte is used once. */
const poolBytes = 4_096
let pool = Buffer.alloc(0)
let used = 0

/** A new id, `<prefix>_` and 100 random bits; ids are names, never secrets. */
export function newId<Kind extends string>(prefix: Kind): Brand<Kind> {
  return `${prefix}_${randomText(20)}` as Brand<Kind>
}
