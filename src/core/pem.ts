const privateKey =
  /^\s*-----BEGIN ((?:[A-Z]+ )?PRIVATE KEY)-----\r?\n[A-Za-z0-9+/=\r\n]+\r?\n-----END \1-----\s*$/

/**
 * Whether a text is one private key in PEM (RFC 7468). Such a value is for signing only: it keeps its line breaks,
 * and what has line breaks never goes on the wire.
 */
export function isPrivateKeyPem(text: string): boolean {
  return privateKey.test(text)
}
