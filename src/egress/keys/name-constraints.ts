import { der } from '../../core/index.ts'
import { Extension } from './x509.ts'

const oid = '2.5.29.30'
const dnsName = 0x82
const ipAddress = 0x87
const everyAddress = [Buffer.alloc(8), Buffer.alloc(32)]

/**
 * The critical extension (RFC 5280 section 4.2.1.10) by which a CA may sign for these names only; each permits the names
 * below it too. Addresses are excluded altogether: no rule names one.
 */
export function nameConstraints(hosts: readonly string[]): Extension {
  const subtree = (tag: number, value: Uint8Array) => der(0x30, der(tag, value))
  const permitted = hosts.map((host) => subtree(dnsName, Buffer.from(host, 'latin1')))
  const excluded = everyAddress.map((all) => subtree(ipAddress, all))
  return new Extension(oid, true, der(0x30, der(0xa0, ...permitted), der(0xa1, ...excluded)))
}
