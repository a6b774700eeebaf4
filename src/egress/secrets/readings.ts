import { type Binding, parseSlot } from '../../catalog/index.ts'

/** A value that is shorter stands in any text by chance, and hides nothing. */
const minLength = 4

/**
 * Words that stand beside a key where Basic wants a second text, as services document them. A service that takes one
 * of them takes anybody's, so the key is the other text, whatever it looks like.
 */
const fillers = new Set([
  'xxxx',
  'anything',
  'api_key',
  'api-key',
  'api_token',
  'api-token',
  'apikey',
  'apitoken',
  'basic',
  'bearer',
  'blank',
  'dummy',
  'empty',
  'false',
  'ignore',
  'ignored',
  'none',
  'nopass',
  'nopassword',
  'null',
  'oauth',
  'oauth2',
  'pass',
  'password',
  'private-token',
  'secret',
  'token',
  'true',
  'undefined',
  'unused',
  'user',
  'username',
  'x-access-token',
  'x-oauth-basic',
  'x-oauth-token',
  'x-token-auth',
])

/**
 * The texts by which a credential in its slot could come back, each once: the value, what is written on the wire in
 * its place, and what an upstream reads out of it when it is a user and password.
 */
export function readings(binding: Binding, secret: string): string[] {
  const { pair, sides } = pairOf(binding, secret)
  const texts = [secret, ...written(binding, secret), ...(pair === undefined ? [] : [pair, ...sides])]
  return [...new Set(texts)].filter((text) => text === secret || text.length >= minLength)
}

/** The value as the bytes of a request have it. An upstream that shows them encodes these, not the value. */
function written({ into, format }: Binding, secret: string): string[] {
  const kind = parseSlot(into)?.kind
  if (kind === 'basic')
    return [
      Buffer.from(
        format.replace('{value}', () => secret),
        'utf8',
      ).toString('base64'),
    ]
  const encoded = encodeURIComponent(secret)
  // A form, or a string of JSON.
  if (kind === 'body') return [encoded, JSON.stringify(secret).slice(1, -1)]
  return kind === 'query' || kind === 'path' ? [encoded] : []
}

/** The user and password that the value is, and which of the two are secret. */
function pairOf({ into, format }: Binding, secret: string): { pair: string | undefined; sides: string[] } {
  const inBase64 = /^basic /i.test(format) && /^[A-Za-z0-9+/]+={0,2}$/.test(secret)
  const pair = inBase64
    ? Buffer.from(secret, 'base64').toString('latin1')
    : into === 'basic'
      ? secret
      : undefined
  const [before = ''] = format.split('{value}')
  // Where the rule writes the user, a colon in the value is one of the password.
  const colon = into === 'basic' && before.includes(':') ? -1 : (pair?.indexOf(':') ?? -1)
  if (pair === undefined || colon === -1) return { pair, sides: [] }
  return { pair, sides: secretSides(pair.slice(0, colon), pair.slice(colon + 1)) }
}

/**
 * Of a user and password: the password, for a user is a name that answers may well show. Where the password is a
 * filler the user is the key; where only the user looks like a key both are searched for.
 */
function secretSides(user: string, password: string): string[] {
  const isFiller = (side: string) => fillers.has(side.toLowerCase())
  if (password.length < minLength || (isFiller(password) && !isFiller(user) && user.length >= minLength))
    return [user]
  return looksLikeKey(user) && !looksLikeKey(password) ? [user, password] : [password]
}

/** Neither a word nor an address of mail. */
function looksLikeKey(side: string): boolean {
  return side.length >= 16 && /\d/.test(side) && !side.includes('@')
}
