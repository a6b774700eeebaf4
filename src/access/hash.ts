import { argon2id, hash, verify } from 'argon2'
import { AppError, type Secret } from '../core/index.ts'
import type { Gate } from './gate.ts'

/** A key of the server that goes into every hash, so that a stolen database alone is worth nothing. */
export interface Pepper {
  id: string
  value: Secret
}

/** OWASP's second choice for argon2id; the secret has 256 bits, so that more would only cost people time. */
const cost = { type: argon2id, memoryCost: 19_456, timeCost: 2, parallelism: 1 } as const

export interface Hasher {
  hash(secret: Secret): Promise<{ secretHash: string; pepperId: string }>
  /**
   * Throws `unavailable` when the pepper of that id was not given to this server. `still` is asked once it is this
   * one's turn, and may throw: what was right when it began to wait may not be by then.
   */
  matches(row: { secretHash: string; pepperId: string }, secret: Secret, still: () => void): Promise<boolean>
}

/** The first pepper makes new hashes, the others still verify until their tokens have expired. */
export function createHasher(peppers: readonly Pepper[], gate: Gate): Hasher {
  const [current] = peppers
  if (current === undefined)
    throw new AppError('invalid_input', 'no pepper was given; one at least is needed')
  const byId = new Map(peppers.map((pepper) => [pepper.id, Buffer.from(pepper.value.reveal())]))
  if (byId.size !== peppers.length) {
    throw new AppError('invalid_input', 'two peppers have one id; give every pepper an id of its own')
  }
  return {
    async hash(secret) {
      const pepper = byId.get(current.id) as Buffer
      const secretHash = await gate.run(() => hash(secret.reveal(), { ...cost, secret: pepper }))
      return { secretHash, pepperId: current.id }
    },
    async matches(row, secret, still) {
      const pepper = byId.get(row.pepperId)
      if (pepper === undefined) {
        throw new AppError(
          'unavailable',
          'This token cannot be checked right now; an admin finds the cause in the log.',
          {
            cause: new Error(
              `no pepper with id ${JSON.stringify(row.pepperId)} was given; have ${[...byId.keys()].join(', ')}`,
            ),
          },
        )
      }
      return await gate.run(async () => {
        still()
        return await verify(row.secretHash, secret.reveal(), { secret: pepper })
      })
    },
  }
}
