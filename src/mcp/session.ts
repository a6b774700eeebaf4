import type { Caller } from '../access/index.ts'
import { isRecord, sha256 } from '../core/index.ts'
import { readLabel } from './label.ts'

const longestClient = 100

/** What the client says of itself in `initialize` or in a 2026 envelope, for the record; null when nothing usable. */
export function clientName(info: unknown): string | null {
  if (!isRecord(info) || typeof info['name'] !== 'string') return null
  const version = typeof info['version'] === 'string' ? ` ${info['version']}` : ''
  return printable(`${info['name']}${version}`)
}

/** A header or a claim, shortened and without control characters. */
export function printable(text: string | undefined): string | null {
  const clean = (text ?? '')
    .replaceAll(/\p{C}/gu, '')
    .trim()
    .slice(0, longestClient)
    // Not half a character at the cut.
    .replace(/[\ud800-\udbff]$/, '')
  return clean === '' ? null : clean
}

export type Session =
  | { kind: 'foreign' }
  | { kind: 'none' }
  | { kind: 'named'; key: string; client: string | null }

/**
 * The session that a client names. Any id is good, also one from before a restart; one that we made for another
 * person or endpoint is `foreign`. The key holds caller and endpoint, so two people with one id have two keys.
 */
export function readSession(labelKey: Uint8Array, caller: Caller, id: string | undefined): Session {
  if (id === undefined || id === '') return { kind: 'none' }
  const { principalId, toolkit } = caller
  const reading = readLabel(labelKey, { principalId, toolkit }, id)
  if (reading.kind === 'foreign') return reading
  return {
    kind: 'named',
    key: sha256(JSON.stringify([principalId, toolkit, id])).slice(0, 32),
    client: reading.kind === 'ours' ? reading.client : null,
  }
}
