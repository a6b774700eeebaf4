const block =
  /-----BEGIN ((?:[A-Z]+ )?PRIVATE KEY|CERTIFICATE|EC PARAMETERS)-----\r?\n[A-Za-z0-9+/=\r\n]+\r?\n-----END \1-----/g

/**
 * Whether a text is key material in PEM (RFC 7468): one private key, any certificates that go with it, and what
 * programs that write such files say around them. Such a value keeps its line breaks, and what has line breaks never
 * goes into a request.
 */
export function isKeyPem(text: string): boolean {
  const labels = [...text.matchAll(block)].map(([, label = '']) => label)
  const keys = labels.filter((label) => label.endsWith('PRIVATE KEY'))
  return keys.length === 1 && !text.replaceAll(block, '').includes('-----')
}
