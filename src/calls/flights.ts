import type { Access, Caller } from '../access/index.ts'
import type { CatalogKeeper } from '../catalog/index.ts'
import { AppError, type CallId, type Log, type TokenId } from '../core/index.ts'
import { callStanding, type Store } from '../store/index.ts'
import { demandAllowed, resolve } from './resolve.ts'

/** A call between its decision and its end. */
export interface Flight {
  callId: CallId
  caller: Caller
  toolkit: string | null
  alias: string
  /** The version of the catalog that it was last decided by. */
  decidedVersion: number
  /** Something that its person should read beside a result that is an error. */
  note(sentence: string): void
  /** Ends the call for this reason; the first reason counts. */
  end(reason: AppError): void
}

/** The calls in flight on this replica, and the eye on whether they still may be (invariant 5). */
export interface Flights {
  /** Keeps `flight` under watch until the function returned is called. */
  enter(flight: Flight): () => void
  /** Ends the calls whose token ended or whose tool was taken away; asks the database, so never a guess. */
  cancelEnded(): Promise<void>
  endAll(reason: AppError): void
  /** Notes the sentence on those of these calls that are in flight here. */
  note(callIds: readonly string[], sentence: string): void
  readonly size: number
}

const pollMs = 500
/** Facts of discovery do not end a call that was right when it began; decisions of people do. */
const factsOnly = ['changed', 'missing', 'unreviewed']

export function createFlights(options: {
  store: Pick<Store, 'db'>
  access: Pick<Access, 'ended'>
  catalog: Pick<CatalogKeeper, 'latest'>
  log: Log
}): Flights {
  const flights = new Set<Flight>()
  let timer: NodeJS.Timeout | undefined
  let checking: Promise<void> | undefined
  let again = false

  const check = async (): Promise<void> => {
    if (flights.size === 0) return
    await Promise.all([endTokens(), endTools()])
  }
  const endTokens = async (): Promise<void> => {
    const tokens = [...new Set([...flights].map((flight) => flight.caller.tokenId))]
    const ended = new Set(await options.access.ended(tokens))
    for (const tokenId of ended) {
      const reason = await tokenEnded(options.store, tokenId)
      for (const flight of flights) if (flight.caller.tokenId === tokenId) flight.end(reason)
    }
  }
  const endTools = async (): Promise<void> => {
    const catalog = await options.catalog.latest()
    for (const flight of flights) {
      if (flight.decidedVersion === catalog.version) continue
      flight.decidedVersion = catalog.version
      const { decision } = resolve(catalog, flight)
      if (factsOnly.includes(decision.rule)) continue
      try {
        demandAllowed(flight.alias, decision)
      } catch (error) {
        if (!(error instanceof AppError)) throw error
        flight.end(error)
      }
    }
  }

  const cancelEnded = async (): Promise<void> => {
    // A notice that comes during a check may be about something the check has already passed.
    if (checking !== undefined) {
      again = true
      return await checking
    }
    checking = (async () => {
      do {
        again = false
        await check()
      } while (again)
    })().finally(() => {
      checking = undefined
    })
    await checking
  }

  const poll = (): void => {
    timer = undefined
    if (flights.size === 0) return
    cancelEnded()
      // Without an answer nobody's call is ended; the next look is half a second away.
      .catch((err: unknown) => options.log.warn({ err }, 'could not look after the calls in flight'))
      .finally(() => watch())
  }
  const watch = (): void => {
    if (flights.size > 0) timer ??= setTimeout(poll, pollMs).unref()
  }

  return {
    enter(flight) {
      flights.add(flight)
      watch()
      return () => void flights.delete(flight)
    },
    cancelEnded,
    endAll(reason) {
      for (const flight of flights) flight.end(reason)
    },
    note(callIds, sentence) {
      for (const flight of flights) if (callIds.includes(flight.callId)) flight.note(sentence)
    },
    get size() {
      return flights.size
    },
  }
}

const sentences = {
  token_revoked: 'The token of this call was revoked. Ask for a new one with /mcp-token in Slack.',
  token_expired: 'The token of this call expired. Ask for a new one with /mcp-token in Slack.',
  token_unknown:
    'The token of this call does not exist any more. Ask for a new one with /mcp-token in Slack.',
  principal_deactivated: 'Your account was deactivated. Ask an admin to reactivate it.',
}

/** The refusal for a token state that `callStanding` found. */
export function tokenRefusal(state: keyof typeof sentences): AppError {
  return new AppError(state, sentences[state])
}

async function tokenEnded(store: Pick<Store, 'db'>, tokenId: TokenId): Promise<AppError> {
  const { token } = await callStanding(store.db, tokenId)
  // `access` is who says that it ended; this only finds the word for it.
  return tokenRefusal(token === 'usable' ? 'token_revoked' : token)
}
