import type { webcrypto } from 'node:crypto'
import { Aes256Gcm, CipherSuite, DhkemX25519HkdfSha256, HkdfSha256 } from '@hpke/core'
import { AppError, canonicalJson, Secret, sha256 } from '../core/index.ts'

/** What a sealed value is bound to: with any of these changed it does not open. */
export interface SealContext {
  keyId: string
  name: string
  scope: string
  scopeId: string
}

/** The private half, held by the egress process only and never exportable again. */
export interface OpeningKey {
  readonly id: string
  readonly key: webcrypto.CryptoKey
}

const suite = new CipherSuite({
  kem: new DhkemX25519HkdfSha256(),
  kdf: new HkdfSha256(),
  aead: new Aes256Gcm(),
})
const version = 'hpke1'
const info = new TextEncoder().encode('toolcrib credential v1')

function boundTo(context: SealContext): Uint8Array {
  const { keyId, name, scope, scopeId } = context
  return new TextEncoder().encode(canonicalJson({ keyId, name, scope, scopeId }))
}

/** A key is named by its public half, so that a swapped key cannot pass under another's name. */
export function sealingKeyId(publicKey: string): string {
  return `ek_${sha256(Buffer.from(publicKey, 'base64url')).slice(0, 20)}`
}

/** A new key pair; `privateKey` is base64url text for a file that only the egress process can read. */
export async function generateSealingKey(): Promise<{ id: string; publicKey: string; privateKey: Secret }> {
  const pair = await suite.kem.generateKeyPair()
  const publicKey = Buffer.from(await suite.kem.serializePublicKey(pair.publicKey)).toString('base64url')
  const privateKey = Buffer.from(await suite.kem.serializePrivateKey(pair.privateKey)).toString('base64url')
  return { id: sealingKeyId(publicKey), publicKey, privateKey: new Secret(privateKey) }
}

/** Turns the text of `generateSealingKey` back into a key that opens. */
export async function importOpeningKey(id: string, privateKey: Secret): Promise<OpeningKey> {
  const raw = new Uint8Array(Buffer.from(privateKey.reveal(), 'base64url'))
  return { id, key: await suite.kem.deserializePrivateKey(raw) }
}

/** Seals to the public key (base64url, as published); the result is text for one column, different every time. */
export async function sealTo(publicKey: string, plaintext: Secret, context: SealContext): Promise<string> {
  if (sealingKeyId(publicKey) !== context.keyId) {
    throw new AppError('invalid_input', `the public key published as ${context.keyId} is not that key`)
  }
  const recipientPublicKey = await suite.kem.deserializePublicKey(
    new Uint8Array(Buffer.from(publicKey, 'base64url')),
  )
  const sender = await suite.createSenderContext({ recipientPublicKey, info })
  const sealed = await sender.seal(new TextEncoder().encode(plaintext.reveal()), boundTo(context))
  return [
    version,
    Buffer.from(sender.enc).toString('base64url'),
    Buffer.from(sealed).toString('base64url'),
  ].join('.')
}

/** Opens what `sealTo` made for this key and exactly this context; anything else throws `internal`. */
export async function open(key: OpeningKey, sealed: string, context: SealContext): Promise<Secret> {
  const [found, enc, ciphertext, ...rest] = sealed.split('.')
  if (found !== version || enc === undefined || ciphertext === undefined || rest.length > 0) {
    throw new AppError(
      'internal',
      `the credential ${context.name} is not sealed in a form that this version knows`,
    )
  }
  try {
    const recipient = await suite.createRecipientContext({
      recipientKey: key.key,
      enc: new Uint8Array(Buffer.from(enc, 'base64url')),
      info,
    })
    const plaintext = await recipient.open(
      new Uint8Array(Buffer.from(ciphertext, 'base64url')),
      boundTo(context),
    )
    return new Secret(new TextDecoder('utf-8', { fatal: true }).decode(plaintext))
  } catch (cause) {
    throw new AppError(
      'internal',
      `the credential ${context.name} does not open: it was sealed for another key or another row; set it again`,
      { cause },
    )
  }
}
