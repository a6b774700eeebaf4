import { newId, Secret, sha256 } from '../../core/index.ts'
import { type Identity, type Leases, parseBasic } from '../leases/leases.ts'
import type { Metrics } from '../records/metrics.ts'
import type { Recorder } from '../records/record.ts'
import type { Credentials } from '../secrets/credentials.ts'
import { LiveForms } from '../secrets/live-forms.ts'
import { compileSecrets } from '../secrets/scrub.ts'

// What a proxy has in its database, held in memory for the self-test.

/** One lease, good for ever. */
export function oneLease(lease: string, sourceId: string): Leases {
  const identity: Identity = {
    secretSha256: sha256(lease),
    leaseId: newId('lse'),
    principalId: newId('prn'),
    runnerId: newId('run'),
    generation: 1,
    sourceId,
    catalogVersion: 0,
    sourceAddress: null,
    callIds: [],
  }
  return {
    identify: (header) => Promise.resolve(parseBasic(header)?.lease === lease ? identity : undefined),
    current: () => identity,
    look: () => Promise.resolve(identity),
    invalidate: () => undefined,
    close: () => undefined,
  }
}

/** One credential, for the `authorization` of every rule that injects. */
export function oneCredential(key: string): Credentials {
  const forms = new LiveForms(() => compileSecrets([key]))
  forms.add([{ of: 'key', key: '', texts: [key] }])
  const secret = new Secret(key)
  return {
    arm: ({ inject: [binding] }) => ({
      ok: true,
      arms: {
        bound:
          binding === undefined
            ? []
            : [{ binding, slot: { kind: 'header', name: 'authorization' }, secret, placeholder: undefined }],
        forms,
        searching: () => () => undefined,
        standIns: [],
        signer: undefined,
        identity: undefined,
        vouched: true,
        rejected: () => undefined,
      },
    }),
    invalidate: () => undefined,
    changed: () => undefined,
    close: () => Promise.resolve(),
  }
}

/** Writes a word for each record, to memory. */
export function wordsOnly(written: string[]): Recorder {
  return {
    healthy: () => true,
    room: () => true,
    allowed() {
      written.push('allowed')
      return { finish: ({ redactions }) => void written.push(`masked ${redactions}`) }
    },
    denied: () => void written.push('denied'),
    waiting: 0,
    close: () => Promise.resolve(),
  }
}

export const countsNothing: Metrics = {
  allowed: () => undefined,
  finished: () => undefined,
  denied: () => undefined,
  answered: () => undefined,
  gauge: () => undefined,
  text: () => Promise.resolve(''),
}
