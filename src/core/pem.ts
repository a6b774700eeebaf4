const block =
  /-----BEGIN ((?:[A-Z]+ )?PRIVATE KEY|CERTIFICATE)-----\r?\n[A-Za-z0-9+/=\r\n]+\r?\n-----END \1-----/g

/**
 * Whether a text is key material in PEM (RFC 7468): one private key, and any certificates that go with it. Such a
 * value keeps its line breaks, and what has line breaks never goes into a request.
 */
export function isKeyPem(text: string): boolean {
  const labels = [...text.matchAll(block)].map(([, label = '']) => label)
  const keys = labels.filter((label) => label !== 'CERTIFICATE')
  return keys.length === 1 && text.replaceAll(block, '').trim() === ''
}
