import type { Executor } from './database.ts'

/** The public half of an egress deployment's keys: what gateways seal to, and the CA that sandboxes trust. */
export interface EgressKeyRow {
  id: string
  publicKey: string
  caCertificate: string
}

/** Makes the public half known; again for the same id is harmless. */
export async function publishEgressKey(db: Executor, key: EgressKeyRow): Promise<void> {
  await db
    .insertInto('egress_keys')
    .values({ id: key.id, public_key: key.publicKey, ca_certificate: key.caCertificate })
    .onConflict((conflict) => conflict.column('id').doNothing())
    .execute()
}

/** Every published key, the newest first: that one is sealed to. */
export async function egressKeys(db: Executor): Promise<EgressKeyRow[]> {
  return await db
    .selectFrom('egress_keys')
    .select(['id', 'public_key as publicKey', 'ca_certificate as caCertificate'])
    .orderBy('created_at', 'desc')
    .orderBy('id')
    .execute()
}
