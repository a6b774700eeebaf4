import { generateKeyPairSync } from 'node:crypto'
import { expect, test } from 'vitest'
import { isKeyPem, Secret } from '../../src/core/index.ts'
import { normalKey } from '../../src/vault/private-key.ts'

const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const pkcs8 = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
const sec1 = privateKey.export({ type: 'sec1', format: 'pem' }).toString()
const parameters = '-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n'

test.each([
  ['a key alone', pkcs8],
  ['with the line breaks of Windows', pkcs8.replaceAll('\n', '\r\n')],
  ['as openssl ecparam writes it', parameters + sec1],
  [
    'as openssl pkcs12 writes it',
    `Bag Attributes\n    localKeyID: 0F B0 \nKey Attributes: <No Attributes>\n${pkcs8}`,
  ],
])('a private key %s is one, and is kept in one spelling', (_, text) => {
  expect(isKeyPem(text)).toBe(true)
  expect(normalKey('KEY', new Secret(text)).reveal()).toBe(pkcs8)
})

test.each([
  ['two keys', pkcs8 + sec1],
  ['half a key', pkcs8.slice(0, -10)],
  ['a public key', publicKey.export({ type: 'spki', format: 'pem' }).toString()],
  ['a key and another kind of block', `${pkcs8}-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n`],
  ['no key', 'S3cr3t\nvalue'],
  ['a word', 'PRIVATE KEY'],
])('%s is no private key', (_, text) => {
  expect(isKeyPem(text)).toBe(false)
})
