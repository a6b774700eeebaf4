/** In how many ways programs write one character, by other means than the proxy's own; a soft break writes nothing. */

/** A whole number below `limit`. */
export type Pick = (limit: number) => number

const names: Record<string, string[]> = {
  '&': ['amp', 'AMP'],
  '<': ['lt', 'LT'],
  '>': ['gt', 'GT'],
  '"': ['quot', 'QUOT'],
  "'": ['apos'],
  _: ['lowbar', 'UnderBar'],
  '.': ['period'],
  '+': ['plus'],
  '/': ['sol'],
  '=': ['equals'],
  ':': ['colon'],
  ';': ['semi'],
  '\\': ['bsol'],
  $: ['dollar'],
  '%': ['percnt'],
  '`': ['grave', 'DiacriticalGrave'],
  '|': ['vert', 'verbar', 'VerticalLine'],
  é: ['eacute'],
}
const quotes: Record<string, string[]> = { "'": ["''", "'\\''", `'"'"'`], '"': ['""'], ' ': ['+'] }

const ofAny: ((code: string) => string)[] = [
  (code) => `\\u${code.padStart(4, '0')}`,
  (code) => `\\u{${code}}`,
  (code) => `\\x{00${code}}`,
  (code) => `\\U${code.padStart(8, '0')}`,
  (code) => `%u${code.padStart(4, '0')}`,
  (code) => `&#x${code};`,
  (code) => `&#X${code};`,
  (code) => `&#x0000${code};`,
  (code) => `&#${Number.parseInt(code, 16)};`,
  (code) => `&#000${Number.parseInt(code, 16)};`,
]
const ofOctets: ((octet: string) => string)[] = [
  (octet) => `%${octet}`,
  (octet) => `=${octet}`,
  (octet) => `\\x${octet}`,
  // The end of a line in octal could go on with a digit behind it.
  (octet) => (octet < '20' ? `=${octet}` : `\\${Number.parseInt(octet, 16).toString(8).padStart(3, '0')}`),
]

/** All that are known of a character, as texts whose characters are bytes. */
export function writingsOf(char: string): string[] {
  const octets = Buffer.from(char).toString('hex').match(/../g) ?? []
  const inCases = (write: (digits: string) => string, digits: string[]) =>
    [digits, digits.map((each) => each.toUpperCase())].map((each) => each.map(write).join(''))
  const units = char.split('').map((unit) => unit.charCodeAt(0).toString(16))
  return [
    Buffer.from(char).toString('latin1'),
    ...ofAny.flatMap((write) =>
      units.length === 1 || write('0').startsWith('\\u0') ? inCases(write, units) : [],
    ),
    ...ofOctets.flatMap((write) => inCases(write, octets)),
    ...(names[char] ?? []).map((name) => `&${name};`),
    ...(quotes[char] ?? []),
    ...(/[!-/:-@[-`{-~]/.test(char) ? [`\\${char}`] : []),
  ]
}

/** Whether it tells what a backslash means: that is not looked for but as itself, right behind it. */
export function tells(text: string, at: number): boolean {
  return text[at - 1] === '\\' && /[A-Za-z0-9]/.test(text[at] ?? '')
}

/** A text with each character written in one way or another; in about every `often`th place in another than itself. */
export function mixed(text: string, pick: Pick, often = 2): string {
  return Array.from(text, (char, at) => {
    if (tells(text, at)) return char
    const all = writingsOf(char)
    const written = pick(often) === 0 ? (all[pick(all.length)] ?? char) : (all[0] ?? char)
    return at > 0 && pick(25) === 0 ? `=${pick(2) === 0 ? '\r\n' : '\n'}${written}` : written
  }).join('')
}

/** The same, put into a text that is written in such ways, too; what is no ASCII is left to the first. */
export function mixedTwice(text: string, pick: Pick): string {
  return mixed(text, pick, 3).replace(/[\0-\x7f]+/g, (ascii) => mixed(ascii, pick, 4))
}
