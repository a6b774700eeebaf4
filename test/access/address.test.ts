import fc from 'fast-check'
import { expect, test } from 'vitest'
import { coarseAddress, limitedAddress } from '../../src/access/address.ts'

test('an address is told as its network only', () => {
  expect(coarseAddress('192.0.2.77')).toBe('192.0.2.0/24')
  expect(coarseAddress('::ffff:192.0.2.77')).toBe('192.0.2.0/24')
  expect(coarseAddress('2001:db8:1:2:3::4')).toBe('2001:db8:1::/48')
  expect(coarseAddress('a unix socket')).toBe('unknown')
  expect(limitedAddress('192.0.2.77')).toBe('192.0.2.77/32')
  expect(limitedAddress('2001:db8:1:2:3::4')).toBe('2001:db8:1:2::/64')
})

test('whatever lies in one network has one name', () => {
  fc.assert(
    fc.property(fc.ipV4(), fc.nat(255), (address, last) => {
      const neighbour = address.replace(/\d+$/, String(last))
      expect(coarseAddress(neighbour)).toBe(coarseAddress(address))
    }),
  )
})
