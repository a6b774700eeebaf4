import { isIP } from 'node:net'
import ipaddr from 'ipaddr.js'
import { der } from '../../core/index.ts'
import { Extension } from './x509.ts'

const oid = '2.5.29.30'
const dnsName = 0x82
const ipAddress = 0x87
const everyAddress = [Buffer.alloc(8), Buffer.alloc(32)]

/**
 * The critical extension (RFC 5280 section 4.2.1.10) by which a CA may sign for these hosts only; a DNS name
 * permits the names below it too. Addresses are excluded altogether, unless a host is one: then only that one.
 */
export function nameConstraints(hosts: readonly string[]): Extension {
  const subtree = (tag: number, value: Uint8Array) => der(0x30, der(tag, value))
  const names = hosts.filter((host) => isIP(host) === 0).map((host) => host.replace(/^\*\./, ''))
  const addresses = hosts.filter((host) => isIP(host) !== 0).map(addressAndMask)
  const permitted = [
    ...[...new Set(names)].map((name) => subtree(dnsName, Buffer.from(name, 'latin1'))),
    ...addresses.map((bytes) => subtree(ipAddress, bytes)),
  ]
  const excluded = everyAddress
    .filter((all) => !addresses.some((one) => one.length === all.length))
    .map((all) => subtree(ipAddress, all))
  const trees = [der(0xa0, ...permitted), ...(excluded.length === 0 ? [] : [der(0xa1, ...excluded)])]
  return new Extension(oid, true, der(0x30, ...trees))
}

function addressAndMask(host: string): Buffer {
  const bytes = ipaddr.parse(host).toByteArray()
  return Buffer.from([...bytes, ...bytes.map(() => 0xff)])
}

/** Whether a certificate for `host` may be signed under these hosts. */
export function permits(permitted: string, host: string): boolean {
  return permitted === host || (permitted.startsWith('*.') && host.endsWith(permitted.slice(1)))
}
