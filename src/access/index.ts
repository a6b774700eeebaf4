/**
 * access: who may call. It issues, verifies, expires and revokes tokens, and knows principals and admin keys.
 * A token's secret leaves this room once, inside a `Secret`; the database only ever sees its argon2id hash.
 * It does not know what a caller may do: that is `policy/`.
 */
export { type AccessOptions, createAccess } from './access.ts'
export { type AdminKeys, createAdminKeys } from './admin-keys.ts'
export type { Pepper } from './hash.ts'

export type { Access, Caller, IssuedToken, Principal, RecalledCaller, TokenRow } from './types.ts'
