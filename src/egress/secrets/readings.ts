import type { Binding } from '../../catalog/index.ts'

/** The secret, and what an upstream reads out of it when it is a user and password. */
export function readings({ into, format }: Binding, secret: string): string[] {
  const inBase64 = /^basic /i.test(format) && /^[A-Za-z0-9+/]+={0,2}$/.test(secret)
  const pair = inBase64 ? Buffer.from(secret, 'base64').toString('latin1') : into === 'basic' ? secret : ''
  const colon = pair.indexOf(':')
  const password = pair.slice(colon + 1)
  // Some services take a key for the user, with a password that is empty or that everybody knows.
  const open = password.length < 4 || password === 'x-oauth-basic'
  const user = open && colon !== -1 ? pair.slice(0, colon) : ''
  return [secret, ...[pair, password, user].filter((text) => text.length >= 4)]
}
