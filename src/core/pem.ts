const block =
  /-----BEGIN ((?:[A-Z]+ )?PRIVATE KEY|CERTIFICATE|EC PARAMETERS)-----\r?\n[A-Za-z0-9+/=\r\n]+\r?\n-----END \1-----/g

/**
 * Whether a text is key material in PEM (RFC 7468): one private key, any certificates that go with it, and what
 * programs that write such files say around them. Such a value keeps its line breaks, and what has line breaks never
 * goes into a request.
 */
export function isKeyPem(text: string): boolean {
  const keys = labelsOf(text).filter((label) => label.endsWith('PRIVATE KEY'))
  return keys.length === 1 && !text.replaceAll(block, '').includes('-----')
}

/** Whether a text is certificates in PEM and no private key: half of what is shown to an upstream. */
export function isCertificatePem(text: string): boolean {
  const labels = labelsOf(text)
  return labels.length > 0 && labels.every((label) => label === 'CERTIFICATE')
}

function labelsOf(text: string): string[] {
  return [...text.matchAll(block)].map(([, label = '']) => label)
}
