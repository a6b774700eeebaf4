import type { RulesAt } from '../decision/rules.ts'
import type { Inbound } from '../inbound/inbound.ts'
import type { Identity } from '../leases/leases.ts'
import type { Recorder } from '../records/record.ts'
import type { Tuple } from '../request/tuple.ts'
import type { MintedCredential } from '../secrets/mint/meant.ts'
import { mintedAt, tokenStub } from '../secrets/mint/stub.ts'
import { factsOf } from './asked.ts'
import type { BodyHold } from './held.ts'

export interface Stubs {
  /** The credentials one of which this request asks for a token of, if the proxy mints it itself. */
  find(tuple: Tuple, identity: Identity): undefined | Promise<MintedCredential[]>
  /** Answers with the stub of the one that is meant, and records that nothing was sent. */
  answer(
    inbound: Inbound,
    minted: readonly MintedCredential[],
    tuple: Tuple,
    identity: Identity,
  ): Promise<void>
}

const maxRequestBytes = 64 * 1024

export function createStubs(options: {
  rulesAt: RulesAt
  recorder: Recorder
  hold: BodyHold
  now: () => number
}): Stubs {
  const find = async (tuple: Tuple, identity: Identity) => {
    const book = await options.rulesAt(identity.catalogVersion)
    return mintedAt(book.minted.get(identity.sourceId) ?? {}, tuple)
  }

  return {
    find: (tuple, identity) => (tuple.method === 'POST' ? find(tuple, identity) : undefined),
    async answer(inbound, minted, tuple, identity) {
      // A client that still writes would lose the answer with the connection, and the body says which token is meant.
      const held = await options.hold.hold(inbound, maxRequestBytes, identity.principalId)
      const isHeld = typeof held === 'object'
      const asked = { rawHeaders: inbound.rawHeaders, body: isHeld ? held.bytes : undefined }
      const stub = tokenStub(minted, asked, options.now())
      if (isHeld) held.release()
      const body = Buffer.from(stub.body)
      const data = {
        ...factsOf(identity, tuple, `minted ${stub.credentials.join(' ')}`),
        addressClass: null,
        credentials: [],
        stubbed: true as const,
        outcome: null,
      }
      const { principalId } = identity
      const record = options.recorder.allowed({ kind: 'egress.allowed', principalId, data }, identity)
      const finish = (failure: string | null) =>
        record.finish({
          status: stub.status,
          bytesIn: failure === null ? body.length : 0,
          bytesOut: 0,
          redactions: 0,
          failure,
        })
      const { answer } = inbound
      if (answer.gone()) return finish('client_closed')
      const headers = ['content-type', 'application/json', 'cache-control', 'no-store', 'pragma', 'no-cache']
      headers.push('content-length', String(body.length))
      if (!inbound.complete()) headers.push('connection', 'close')
      answer.head(stub.status, headers)
      answer.sink.write(body)
      answer.end([])
      finish(null)
    },
  }
}
