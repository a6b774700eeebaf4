import { randomBytes, timingSafeEqual } from 'node:crypto'
import { createMac } from '../core/index.ts'

/** Whose session it is: a person, at one endpoint. */
export interface SessionOwner {
  principalId: string
  toolkit: string | null
}

export type LabelReading = { kind: 'ours'; client: string | null } | { kind: 'foreign' } | { kind: 'unknown' }

const shape = /^tcs\.([\w-]{16})\.([\w-]{0,540})\.([\w-]{22})\.([\w-]{22})$/

/**
 * A session id that needs no memory: a random part, the client's own name, a proof that binds both to the
 * owner, and a proof that this server made it. The first tells an owner's label, the second tells another
 * person's label from an id that we never made.
 */
export function mintLabel(key: Uint8Array, owner: SessionOwner, client: string | null): string {
  const random = randomBytes(12).toString('base64url')
  const name = Buffer.from(client ?? '').toString('base64url')
  const bound = bind(key, owner, random, name)
  return `tcs.${random}.${name}.${bound}.${seal(key, random, name, bound)}`
}

/** Reads a client's session id. An id that we did not make is `unknown`; one made for somebody else `foreign`. */
export function readLabel(key: Uint8Array, owner: SessionOwner, label: string): LabelReading {
  const [, random, name, bound, sealed] = shape.exec(label) ?? []
  if (random === undefined || name === undefined || bound === undefined || sealed === undefined)
    return { kind: 'unknown' }
  if (equal(bound, bind(key, owner, random, name))) return { kind: 'ours', client: clientIn(name) }
  return equal(sealed, seal(key, random, name, bound)) ? { kind: 'foreign' } : { kind: 'unknown' }
}

/** What the client of this label called itself, unproven; null when the label is not of our shape. */
export function claimedClient(label: string): string | null {
  const name = shape.exec(label)?.[2]
  return name === undefined ? null : clientIn(name)
}

function clientIn(name: string): string | null {
  return name === '' ? null : Buffer.from(name, 'base64url').toString()
}

function bind(key: Uint8Array, owner: SessionOwner, random: string, name: string): string {
  return mac(key, JSON.stringify(['bind', owner.principalId, owner.toolkit, random, name]))
}

function seal(key: Uint8Array, random: string, name: string, bound: string): string {
  return mac(key, JSON.stringify(['seal', random, name, bound]))
}

function mac(key: Uint8Array, text: string): string {
  let keyed = macs.get(key)
  if (keyed === undefined) {
    keyed = createMac(key)
    macs.set(key, keyed)
  }
  return keyed(text).toString('base64url').slice(0, 22)
}

const macs = new WeakMap<Uint8Array, (text: string) => Buffer>()

function equal(a: string, b: string): boolean {
  return a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b))
}
