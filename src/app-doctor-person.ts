import type { Access, Principal } from './access/index.ts'
import { bad, type Check, check, good, type Verdict } from './app-doctor-check.ts'
import type { CatalogKeeper } from './catalog/index.ts'
import type { Runners, RunnerView } from './runners/index.ts'
import { egressKeys, lastCall, listRunnerEvents, type Store } from './store/index.ts'

/** Why things are as they are for one person, a sentence each; never a token's or a credential's secret. */
export function personChecks(
  parts: {
    store: Store
    access: Pick<Access, 'list'>
    runners: Pick<Runners, 'find'>
    catalog: Pick<CatalogKeeper, 'listSources'>
  },
  person: Principal,
): (() => Promise<Check>)[] {
  const { store, access, runners, catalog } = parts
  return [
    check('person', `\`toolcrib people reactivate ${person.id}\` lets them have tokens again`, async () => {
      const named = [person.id, person.slackTeam, person.slackUser].filter((part) => part !== null)
      const sentence = `${person.name} (${named.join(', ')}) is ${person.state}`
      return person.state === 'active' ? good(sentence) : bad(sentence)
    }),
    check(
      'tokens',
      `they type /mcp-token in Slack, or \`toolcrib tokens issue --for ${person.id}\``,
      async () => {
        const live = await access.list({ principalId: person.id })
        const soonest = live.toSorted((a, b) => a.expiresAt.getTime() - b.expiresAt.getTime())[0]
        if (soonest === undefined) return bad('none is live: every request is refused')
        const [last] = live
          .filter(({ lastUsedAt }) => lastUsedAt !== null)
          .toSorted((a, b) => Number(b.lastUsedAt) - Number(a.lastUsedAt))
        const used =
          last === undefined
            ? 'never used'
            : `last used ${at(last.lastUsedAt)}${last.lastUsedClient === null ? '' : ` by ${last.lastUsedClient}`}`
        return good(
          `${live.length} live, ${live.length === 1 ? 'which ends' : 'the first of which ends'} ${at(soonest.expiresAt)}; ${used}`,
        )
      },
    ),
    check(
      'sandbox',
      'the next call tries again by itself; `toolcrib doctor` checks what a start needs',
      async () => {
        const runner = await runners.find(person.id)
        const isRunning = runner?.state === 'ready'
        if (!isRunning && (await egressKeys(store.db)).length === 0)
          return bad('none can start: no egress proxy has started yet; start `toolcrib egress`')
        if (runner === undefined) return good('none was ever needed; the first call starts it')
        return await describe(store, runner)
      },
    ),
    check('sources', '`toolcrib doctor` says what to do', async () => {
      const sources = (await catalog.listSources()).filter(({ enabled }) => enabled)
      if (sources.length === 0) return bad('none is configured: there is no tool to call')
      const broken = sources.filter(
        ({ discoveryError, discoveredAt }) => discoveryError !== null || discoveredAt === null,
      )
      const told = sources.map(({ id, discoveryError, discoveredAt }) => {
        if (discoveryError !== null) return `${id} fails (${discoveryError})`
        return discoveredAt === null ? `no tool of ${id} was found yet` : `${id} answered`
      })
      return broken.length === 0 ? good(told.join(', ')) : bad(told.join('; '))
    }),
    check('last call', 'the error says what to do; docs/reference/errors.md has them all', async () => {
      const call = await lastCall(store.db, person.id)
      if (call === undefined) return good('they have called nothing yet')
      const { id, alias, outcome, code, startedAt, finishedAt } = call
      if (finishedAt === null) return good(`${alias} runs since ${at(startedAt)} (${id})`)
      const took = `${finishedAt.getTime() - startedAt.getTime()} ms`
      const how = code === null ? outcome : `${outcome}, ${code}`
      const sentence = `${alias} at ${at(startedAt)} ended as ${how} after ${took}: \`toolcrib audit --call ${id}\``
      return ['failed', 'expired', 'unknown'].includes(outcome ?? '') ? bad(sentence) : good(sentence)
    }),
  ]
}

async function describe(store: Store, runner: RunnerView): Promise<Verdict> {
  const { state, phase, generation, isolation, stateSince, message } = runner
  const what = `${phase === null ? state : `${state} (${phase})`} since ${at(stateSince)}`
  const why = message === null ? '' : `: ${message}`
  switch (state) {
    case 'ready': {
      const before = await endBefore(store, runner)
      const end = before === undefined ? '' : `; the one before ended ${at(before.at)}: ${before.why}`
      return good(`${what}, generation ${generation}, ${isolation}${end}`)
    }
    case 'stopped':
      return good(`${what}${why}${generation === 0 ? '' : '; the next call starts it'}`)
    case 'failed':
      return bad(`${what}${why}`)
    default:
      return good(`${what}${why}`)
  }
}

/** When and why the life before this one ended. */
async function endBefore(store: Store, { id, generation }: RunnerView) {
  for (const event of await listRunnerEvents(store.db, id, 20)) {
    if (event.generation >= generation || (event.from !== 'ready' && event.to !== 'failed')) continue
    const { message } = event.detail as { message?: string | null }
    return { at: event.at, why: message ?? event.cause }
  }
  return undefined
}

function at(time: Date | null): string {
  return time === null ? 'never' : `${time.toISOString().slice(0, 16).replace('T', ' ')} UTC`
}
