import { hostname } from 'node:os'
import { shortTime, table } from './cli/index.ts'
import { type Config, egressKeysDir } from './config.ts'
import { type Log, shellWord } from './core/index.ts'
import {
  makeKeysForLost,
  overviewKeys,
  type RotateOptions,
  replaceLostCa,
  replaceLostKey,
  rotateCa,
  rotateSealingKey,
} from './egress/index.ts'
import { account, withStore } from './main-database.ts'
import { demandMigrated, listPrincipals, type PrincipalRow, type Store } from './store/index.ts'

interface Printed {
  json: unknown
  text: string
}

/** `toolcrib keys list`: ids, never keys. */
export async function listKeys(config: Config, log: Log): Promise<Printed> {
  return await withStore(config, log, async (store) => {
    await demandMigrated(store.db)
    const keys = await overviewKeys({ store, dir: egressKeysDir(config) })
    const time = (at: Date | null) => (at === null ? null : shortTime(at.toISOString()))
    const sealing = table(
      ['SEALING KEY', 'STATE', 'SINCE', 'CREDENTIALS', 'TOKENS', 'HERE', 'PROXIES THAT OPEN WITH IT'],
      keys.sealing.map((key) => [
        key.id,
        key.state,
        time(key.since),
        String(key.credentials),
        String(key.tokens),
        key.here ? 'yes' : 'no',
        key.heldBy.join(', '),
      ]),
      'There is no sealing key; start `toolcrib egress` once.',
    )
    const authorities = table(
      ['CA', 'STATE', 'SINCE', 'UNTIL', 'HERE', 'PROXIES THAT SIGN WITH IT'],
      keys.authorities.map((ca) => [
        ca.id,
        ca.state,
        time(ca.since),
        time(ca.until),
        ca.here ? 'yes' : 'no',
        ca.signedWithBy.join(', '),
      ]),
      'There is no CA; start `toolcrib egress` once.',
    )
    return { json: keys, text: `${sealing}\n${authorities}\nProxies alive: ${keys.liveProxies}\n` }
  })
}

export interface RotateCommand {
  ca: boolean
  lost: boolean
  waitMs: number
  say: (step: string) => void
}

/** `toolcrib keys rotate`: with the rights of whoever may read the key folder. */
export async function rotateKeys(config: Config, log: Log, asked: RotateCommand): Promise<Printed> {
  return await withStore(config, log, async (store) => {
    await demandMigrated(store.db)
    const options: RotateOptions = {
      store,
      dir: egressKeysDir(config),
      by: `toolcrib keys rotate, run by ${account()} on ${hostname()}`,
      now: Date.now(),
      waitMs: asked.waitMs,
      say: asked.say,
    }
    if (asked.lost) return await replaceLost(options)
    if (asked.ca) {
      const done = await rotateCa(options)
      return { json: done, text: sayCa(done) }
    }
    const done = await rotateSealingKey(options)
    return { json: done, text: await saySealing(store, done) }
  })
}

async function replaceLost(options: RotateOptions): Promise<Printed> {
  await makeKeysForLost(options.store, options.dir, options.now)
  const sealing = await replaceLostKey(options)
  const ca = await replaceLostCa(options)
  return {
    json: { ...sealing, ...ca },
    text: `${await saySealing(options.store, sealing)}Proxies sign with ${ca.caId}${sayUntrusting(ca.sandboxes)}`,
  }
}

type Sealed = Awaited<ReturnType<typeof rotateSealingKey>>

async function saySealing(store: Store, sealed: Sealed): Promise<string> {
  const { keyId, resealed, tokens, unreadableTokens, unreadable, retired } = sealed
  const ended = `Keys retired: ${retired.length}.${sayUnreadable(unreadableTokens)}`
  const done = `Credentials are sealed to ${keyId}. Sealed anew: ${resealed}, and of minted tokens: ${tokens}. ${ended}\n`
  if (unreadable.length === 0) return done
  const people = await listPrincipals(store.db)
  const lines = unreadable.map((one) => `  toolcrib credentials set ${asGiven(one, people)}\n`)
  return `${done}Nobody can open what was sealed to other keys; set each again:\n${lines.join('')}`
}

function sayUnreadable(tokens: number): string {
  if (tokens === 0) return ''
  if (tokens === 1)
    return ' 1 minted token does not open with what is here: no answer is searched for it, and its key stays until it ends.'
  return ` ${tokens} minted tokens do not open with what is here: no answer is searched for them, and their keys stay until they end.`
}

/** A credential as `credentials set` is told of it: a person by their name where it is nobody else's too. */
function asGiven({ name, scope, scopeId }: Sealed['unreadable'][number], people: PrincipalRow[]): string {
  if (scope === 'global') return name
  const called = people.find(({ id }) => id === scopeId)?.name ?? ''
  const namesakes = people.filter((one) => one.name.toLowerCase() === called.toLowerCase())
  const isClear = namesakes.length === 1 && /^[\p{L}\p{N}][\p{L}\p{N}._ -]*$/u.test(called)
  return `${name} --for ${isClear ? shellWord(called) : scopeId}`
}

function sayCa({ caId, retired, sandboxes }: Awaited<ReturnType<typeof rotateCa>>) {
  if (sandboxes.length === 0)
    return `Proxies sign with ${caId}; ${retired.length} ${retired.length === 1 ? 'CA' : 'CAs'} retired.\n`
  const [running, ended] =
    sandboxes.length === 1 ? ['1 that runs does', 'it has'] : [`${sandboxes.length} that run do`, 'they have']
  return `New sandboxes trust ${caId} too; ${running} not yet. Run this again when ${ended} ended: when idle, at \`sandbox.max_age\`, or by\n${stopping(sandboxes)}`
}

function sayUntrusting(sandboxes: string[]): string {
  if (sandboxes.length === 0) return '.\n'
  const [who, them] =
    sandboxes.length === 1 ? ['1 sandbox does', 'it'] : [`${sandboxes.length} sandboxes do`, 'them']
  return `; ${who} not trust it. Stop ${them} with\n${stopping(sandboxes)}`
}

const stopping = (sandboxes: string[]) => sandboxes.map((id) => `  toolcrib runners stop ${id}\n`).join('')
