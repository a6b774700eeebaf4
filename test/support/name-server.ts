/**
 * A DNS server on loopback, by UDP, and a resolver that asks it with real packets. Where it lies: it knows only
 * addresses and aliases, and every answer may be kept for no time at all.
 */
import { createSocket } from 'node:dgram'
import { Resolver } from 'node:dns/promises'
import { isIPv4 } from 'node:net'

export interface NameServer extends AsyncDisposable {
  /** For each name its addresses, or `{ alias }`. May change at any time. */
  zone: Map<string, string[] | { alias: string }>
  /** Every name that was asked for, in order. */
  asked: string[]
  resolve: (host: string) => Promise<string[]>
}

export async function startNameServer(): Promise<NameServer> {
  const zone: NameServer['zone'] = new Map()
  const asked: string[] = []
  const socket = createSocket('udp4')
  socket.on('message', (query, from) => {
    const { name, type, end } = readQuestion(query)
    asked.push(name)
    const answers = answersTo(zone, name, type)
    const header = Buffer.from([0, 0, 0x84, 0, 0, 1, 0, answers.length, 0, 0, 0, 0])
    query.copy(header, 0, 0, 2)
    socket.send(Buffer.concat([header, query.subarray(12, end), ...answers]), from.port, from.address)
  })
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve))
  const resolver = new Resolver({ tries: 1, timeout: 2_000 })
  resolver.setServers([`127.0.0.1:${socket.address().port}`])
  return {
    zone,
    asked,
    resolve: async (host) => {
      const none = (): string[] => []
      const both = [resolver.resolve4(host).catch(none), resolver.resolve6(host).catch(none)]
      return (await Promise.all(both)).flat()
    },
    async [Symbol.asyncDispose]() {
      resolver.cancel()
      await new Promise<void>((resolve) => socket.close(resolve))
    },
  }
}

function readQuestion(query: Buffer): { name: string; type: number; end: number } {
  const labels: string[] = []
  let at = 12
  for (let size = query[at] ?? 0; size !== 0; size = query[at] ?? 0) {
    labels.push(query.toString('latin1', at + 1, at + 1 + size))
    at += 1 + size
  }
  return { name: labels.join('.').toLowerCase(), type: query.readUInt16BE(at + 1), end: at + 5 }
}

const types = { a: 1, cname: 5, aaaa: 28 }

/** The chain of aliases, then the addresses of the asked family. */
function answersTo(zone: NameServer['zone'], name: string, type: number): Buffer[] {
  const found = zone.get(name)
  if (found === undefined) return []
  if ('alias' in found) {
    return [record(name, types.cname, nameBytes(found.alias)), ...answersTo(zone, found.alias, type)]
  }
  return found
    .filter((address) => (isIPv4(address) ? types.a : types.aaaa) === type)
    .map((address) => record(name, type, addressBytes(address)))
}

function record(name: string, type: number, data: Buffer): Buffer {
  const fixed = Buffer.alloc(10)
  fixed.writeUInt16BE(type, 0)
  fixed.writeUInt16BE(1, 2)
  fixed.writeUInt16BE(data.length, 8)
  return Buffer.concat([nameBytes(name), fixed, data])
}

function nameBytes(name: string): Buffer {
  const labels = name.split('.').map((label) => Buffer.from(`${String.fromCharCode(label.length)}${label}`))
  return Buffer.concat([...labels, Buffer.from([0])])
}

function addressBytes(address: string): Buffer {
  if (isIPv4(address)) return Buffer.from(address.split('.').map(Number))
  const [head = '', tail = ''] = address.split('::')
  const groups = (text: string) => (text === '' ? [] : text.split(':'))
  const zeros = Array.from({ length: 8 - groups(head).length - groups(tail).length }, () => '0')
  const all = address.includes('::') ? [...groups(head), ...zeros, ...groups(tail)] : groups(address)
  return Buffer.from(all.map((group) => group.padStart(4, '0')).join(''), 'hex')
}
