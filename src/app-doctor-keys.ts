import { X509Certificate } from 'node:crypto'
import { bad, type Check, check, good, type Verdict } from './app-doctor-check.ts'
import { type CatalogKeeper, storedNames } from './catalog/index.ts'
import { closedGrants, egressCas, listCredentialNames, liveHolders, type Store } from './store/index.ts'

const dayMs = 86_400_000
/** A complaint names so many at most. */
const mostNamed = 10

type Parts = { store: Pick<Store, 'db'>; catalog: Pick<CatalogKeeper, 'latest'> }

/** What sources need of the vault and of the proxies' keys: names and dates, never a value. */
export function keyChecks({ store, catalog }: Parts): (() => Promise<Check>)[] {
  return [
    check('credentials', 'set each, as the detail says', async () => {
      const { sources } = await catalog.latest()
      const stored = await listCredentialNames(store.db)
      const set = new Set(stored.map(({ name }) => name))
      const missing = new Map<string, Set<string>>()
      const needed = new Set<string>()
      for (const { id, enabled, spec } of sources.values())
        for (const name of enabled ? storedNames(spec) : []) {
          needed.add(name)
          if (!set.has(name)) missing.set(name, (missing.get(name) ?? new Set()).add(id))
        }
      const closed = (await closedGrants(store.db)).filter(({ name }) => needed.has(name))
      const opens = await openedBySome(store)
      const lost = stored.filter(({ keyId }) => opens !== undefined && !opens.has(keyId))
      const complaints = [
        ...[...missing].map(([name, ids]) => ({
          what: `${name} of ${[...ids].join(', ')} is not set`,
          command: `toolcrib credentials set ${name}`,
        })),
        ...lost.map((row) => again(row, `is sealed to ${row.keyId}, which no proxy has`)),
        ...closed.map((row) => again(row, whyClosed[row.state])),
      ]
      return complaints.length === 0
        ? good(`${set.size} set, none missing`)
        : complain(complaints, lost.length > 0)
    }),
    check(
      'certificate authority',
      'run `toolcrib keys rotate --ca` as the user that `toolcrib egress` runs as, until it says that the old one is retired',
      async () => {
        const signs = (await egressCas(store.db)).find(({ signsSince }) => signsSince !== null)
        if (signs === undefined) return good('no egress proxy has published one yet')
        const until = new X509Certificate(signs.certificate).validToDate
        const days = Math.floor((until.getTime() - Date.now()) / dayMs)
        const day = until.toISOString().slice(0, 10)
        if (days < 0)
          return bad(`${signs.id} ended on ${day}: nothing in a sandbox trusts the proxy any more`)
        return days < 30
          ? bad(`${signs.id} ends on ${day}, in ${days} days`)
          : good(`${signs.id} is good until ${day}`)
      },
    ),
  ]
}

const whyClosed = {
  uncertain: 'was sent to its token endpoint, whose answer was lost, and may be spent (mint_uncertain)',
  refused: 'was refused by its token endpoint (mint_refused)',
}

function again({ name, scope, scopeId }: { name: string; scope: string; scopeId: string }, why: string) {
  const isGlobal = scope === 'global'
  return {
    what: `${name}${isGlobal ? '' : ` of ${scopeId}`} ${why}`,
    command: `toolcrib credentials set ${name}${isGlobal ? '' : ` --for ${scopeId}`}`,
  }
}

/** The keys that a live proxy has; undefined where that is not known, for want of one or of its word. */
async function openedBySome(store: Pick<Store, 'db'>): Promise<Set<string> | undefined> {
  const holders = await liveHolders(store.db)
  if (holders.length === 0 || holders.some(({ held }) => held === null)) return undefined
  return new Set(holders.flatMap(({ held }) => held?.opens ?? []))
}

function complain(complaints: { what: string; command: string }[], someLost: boolean): Verdict {
  const named = complaints.slice(0, mostNamed)
  const more = complaints.length > mostNamed ? `; and ${complaints.length - mostNamed} more` : ''
  const commands = named.map(({ command }) => `\`${command}\``).join(', ')
  const restore = someLost ? 'restore the folder `egress-keys` from a backup, or ' : ''
  return bad(`${named.map(({ what }) => what).join('; ')}${more}`, `${restore}${commands}`)
}
