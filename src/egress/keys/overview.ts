import { X509Certificate } from 'node:crypto'
import {
  egressCas,
  egressKeys,
  liveHolders,
  type Store,
  sealedCredentials,
  tokensByKey,
} from '../../store/index.ts'
import { type KeyFolder, readKeyFolder } from './key-folder.ts'

export interface KeysOverview {
  sealing: {
    id: string
    /** `next`: made, not published; `left`: retired, its file still here. */
    state: 'sealed to' | 'older' | 'next' | 'left'
    since: Date | null
    credentials: number
    /** Minted and former tokens. */
    tokens: number
    /** Whether its private half lies in the folder that was looked at. */
    here: boolean
    /** Hosts of the live proxies that can open with it. */
    heldBy: string[]
  }[]
  authorities: {
    id: string
    state: 'signs' | 'trusted' | 'next' | 'left'
    since: Date | null
    until: Date | null
    here: boolean
    signedWithBy: string[]
  }[]
  liveProxies: number
}

/** Every key of the deployment: what the database, the live proxies and the folder `dir` say of it. */
export async function overviewKeys({ store, dir }: { store: Store; dir: string }): Promise<KeysOverview> {
  const nothing: KeyFolder = { sealing: [], authorities: [] }
  const folder = await readKeyFolder(dir).catch(() => nothing)
  const published = await egressKeys(store.db)
  const trusted = await egressCas(store.db)
  const holders = await liveHolders(store.db)
  const rows = await sealedCredentials(store.db)
  const tokens = await tokensByKey(store.db)
  const hosts = (is: (held: NonNullable<(typeof holders)[number]['held']>) => boolean) =>
    holders.filter(({ held }) => held !== null && is(held)).map(({ host }) => host)
  const newestHere = Math.max(
    0,
    ...folder.sealing.filter(({ id }) => published.some((key) => key.id === id)).map((key) => key.number),
  )
  const unpublished = folder.sealing.filter(({ id }) => !published.some((key) => key.id === id))
  const untrusted = folder.authorities.filter(({ id }) => !trusted.some((ca) => ca.id === id))
  const newestCaHere = Math.max(
    0,
    ...folder.authorities.filter((file) => !untrusted.includes(file)).map((ca) => ca.number),
  )
  return {
    sealing: [
      ...unpublished.map(({ id, number }) => ({
        id,
        state: number > newestHere ? ('next' as const) : ('left' as const),
        since: null,
        credentials: 0,
        tokens: tokens.get(id) ?? 0,
        here: true,
        heldBy: hosts((held) => held.opens.includes(id)),
      })),
      ...published.map(({ id, createdAt }, at) => ({
        id,
        state: at === 0 ? ('sealed to' as const) : ('older' as const),
        since: createdAt,
        credentials: rows.filter((row) => row.keyId === id).length,
        tokens: tokens.get(id) ?? 0,
        here: folder.sealing.some((key) => key.id === id),
        heldBy: hosts((held) => held.opens.includes(id)),
      })),
    ],
    authorities: [
      ...untrusted.map(({ id, number, authority }) => ({
        id,
        state: number > newestCaHere ? ('next' as const) : ('left' as const),
        since: null,
        until: endOf(authority.certificatePem),
        here: true,
        signedWithBy: hosts((held) => held.signs === id),
      })),
      ...trusted.map(({ id, certificate, trustedSince, signsSince }) => ({
        id,
        state: signsSince === null ? ('trusted' as const) : ('signs' as const),
        since: signsSince ?? trustedSince,
        until: endOf(certificate),
        here: folder.authorities.some((ca) => ca.id === id),
        signedWithBy: hosts((held) => held.signs === id),
      })),
    ],
    liveProxies: holders.length,
  }
}

function endOf(certificate: string): Date | null {
  try {
    return new Date(new X509Certificate(certificate).validTo)
  } catch {
    return null
  }
}
