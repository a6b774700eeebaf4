import { X509Certificate } from 'node:crypto'
import {
  egressCas,
  egressKeys,
  liveHolders,
  type Store,
  sealedCredentials,
  tokensByKey,
} from '../../store/index.ts'
import { findKeyFolder, type KeyFolder } from './key-folder.ts'

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
    /** The live proxies that can open with it: by host, and by id too where they share one. */
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

/**
 * Every key of the deployment: what the database, the live proxies and the folder `dir` say of it. Throws when there is
 * a folder and it cannot be read: whoever reads that nothing is here may take keys for lost.
 */
export async function overviewKeys({ store, dir }: { store: Store; dir: string }): Promise<KeysOverview> {
  const nothing: KeyFolder = { sealing: [], authorities: [] }
  const folder = (await findKeyFolder(dir)) ?? nothing
  const published = await egressKeys(store.db)
  const trusted = await egressCas(store.db)
  const holders = await liveHolders(store.db)
  const rows = await sealedCredentials(store.db)
  const tokens = await tokensByKey(store.db)
  const names = (is: (held: NonNullable<(typeof holders)[number]['held']>) => boolean) =>
    holders.filter(({ held }) => held !== null && is(held)).map(({ name }) => name)
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
        heldBy: names((held) => held.opens.includes(id)),
      })),
      ...published.map(({ id, createdAt }, at) => ({
        id,
        state: at === 0 ? ('sealed to' as const) : ('older' as const),
        since: createdAt,
        credentials: rows.filter((row) => row.keyId === id).length,
        tokens: tokens.get(id) ?? 0,
        here: folder.sealing.some((key) => key.id === id),
        heldBy: names((held) => held.opens.includes(id)),
      })),
    ],
    authorities: [
      ...untrusted.map(({ id, number, authority }) => ({
        id,
        state: number > newestCaHere ? ('next' as const) : ('left' as const),
        since: null,
        until: endOf(authority.certificatePem),
        here: true,
        signedWithBy: names((held) => held.signs === id),
      })),
      ...trusted.map(({ id, certificate, trustedSince, signsSince }) => ({
        id,
        state: signsSince === null ? ('trusted' as const) : ('signs' as const),
        since: signsSince ?? trustedSince,
        until: endOf(certificate),
        here: folder.authorities.some((ca) => ca.id === id),
        signedWithBy: names((held) => held.signs === id),
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
