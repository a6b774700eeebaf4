import type { RulesAt } from '../decision/rules.ts'
import type { Inbound } from '../inbound/inbound.ts'
import type { Identity } from '../leases/leases.ts'
import type { Recorder } from '../records/record.ts'
import type { Tuple } from '../request/tuple.ts'
import { type TokenStub, tokenStub } from '../secrets/mint/stub.ts'
import { factsOf } from './asked.ts'
import type { BodyHold } from './held.ts'

export interface Stubs {
  /** The stub for this request, if it asks for a token that the proxy mints itself. */
  find(tuple: Tuple, identity: Identity): undefined | Promise<TokenStub | undefined>
  /** Answers with it and records that nothing was sent. */
  answer(inbound: Inbound, stub: TokenStub, tuple: Tuple, identity: Identity): Promise<void>
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
    return tokenStub(book.minted.get(identity.sourceId) ?? {}, tuple, options.now())
  }

  return {
    find: (tuple, identity) => (tuple.method === 'POST' ? find(tuple, identity) : undefined),
    async answer(inbound, stub, tuple, identity) {
      const body = Buffer.from(stub.body)
      const data = {
        ...factsOf(identity, tuple, `minted ${stub.credential}`),
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
      // A client that still writes would lose the answer with the connection; its body is read and forgotten.
      const held = await options.hold.hold(inbound, maxRequestBytes, identity.principalId)
      if (typeof held === 'object') held.release()
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
