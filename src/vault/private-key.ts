import { createPrivateKey } from 'node:crypto'
import { AppError, Secret } from '../core/index.ts'

/** A private key in PEM, rewritten as unencrypted PKCS#8; throws `invalid_input` for one that cannot be read. */
export function normalPrivateKey(name: string, value: Secret): Secret {
  try {
    const key = createPrivateKey(value.reveal())
    return new Secret(key.export({ type: 'pkcs8', format: 'pem' }).toString())
  } catch {
    // The reason is left out: a parser's message may quote what it read.
    throw new AppError(
      'invalid_input',
      `the value for ${name} looks like a private key and cannot be read as one; give an unencrypted PEM, e.g. openssl pkcs8 -topk8 -nocrypt -in key.pem`,
    )
  }
}
