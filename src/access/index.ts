/**
 * access: who may call. It issues, verifies, expires and revokes tokens, and knows principals and admin keys.
 * A token's secret leaves this room once, inside a `Secret`; the database only ever sees its argon2id hash.
 */
export type { Access, Caller, IssuedToken, Principal, TokenRow } from './types.ts'
