import { kindsOfBytes, type LetterStream, letter, opener } from './letter-stream.ts'

/**
 * So many letters in a row are known by their fingerprint: the most that a form has of these. Where it has some more, the
 * fingerprints of all that end with one of its last `step` letters are known, so that only every so manyth need be made.
 */
export const rows = [
  { length: 24, step: 4 },
  { length: 16, step: 4 },
  { length: 8, step: 1 },
  { length: 4, step: 1 },
  { length: 3, step: 1 },
]
/** Of letters that whatever stands before a form may take for its own, as the end of a name. */
const mostTakenByName = 17
/**
 * So many letters are left out at the beginning where there are twice as many: somebody may put before a credential what
 * takes more of them than any one beginning of a writing does.
 */
const mostSpare = 12

const [semicolon, closeBrace] = [59, 125]
const ownKinds = kindsOfBytes()

/** Letters in a row of a form, up to this byte. */
export interface Window {
  to: number
  length: number
  step: number
}

/**
 * By which letters of its first `upTo` bytes a form is known, whatever stands before it and however it is written; by
 * none where it has too few.
 */
export function windowsIn(
  bytes: Buffer,
  upTo: number,
  takers: readonly Taker[],
  stream: LetterStream,
): Window[] {
  let best: Window[] = []
  for (const { from, to } of runsIn(bytes.subarray(0, upTo))) {
    const run = bytes.subarray(from, to)
    const letters = lettersIn(bytes, from, to)
    let end = to
    while (end > from && !isLetter(bytes[end - 1] ?? 0)) end -= 1
    const those = from === 0 ? takers : takersOf(run, stream)
    const taken = [...new Set([...those.map((each) => each.taken), ...takenByEnd(run)])]
    const rowBehind = (count: number) => rows.find(({ length, step }) => length + step - 1 <= letters - count)
    const sure = rowBehind(Math.max(spare(letters), ...taken))
    // A few letters at the beginning are looked for with as many left out as may be taken, in each way.
    const some = from === 0 && sure === undefined ? taken.map(rowBehind) : [sure]
    const windows = some.flatMap((row) => (row === undefined ? [] : [{ to: end, ...row }]))
    if (windows.length === some.length && (windows[0]?.length ?? 0) >= (best[0]?.length ?? 0)) best = windows
  }
  return best
}

function spare(letters: number): number {
  return Math.min(mostSpare, Math.floor(letters / 2))
}

/** Stretches without a sign that may begin the writing of something else. */
function* runsIn(bytes: Buffer): Generator<{ from: number; to: number }> {
  let from = 0
  for (let at = 0; at <= bytes.length; at += 1) {
    if (at < bytes.length && ownKinds[bytes[at] ?? 0] !== opener) continue
    if (at > from) yield { from, to: at }
    from = at + 1
  }
}

/** What stands before some letters and takes so many of them for its own. */
export interface Taker {
  before: Buffer
  taken: number
}

/** What may take some of these letters for its own; first that nothing does. */
export function takersOf(bytes: Buffer, stream: LetterStream): Taker[] {
  const takers = [{ before: Buffer.alloc(0), taken: 0 }]
  for (const before of beginnings) {
    stream.separate(0)
    stream.read(before)
    let at = 0
    while (stream.isWriting && at < bytes.length) stream.read(bytes, at, (at += 1))
    const behind = stream.count
    const most = behind - stream.since
    stream.separate(0)
    stream.read(bytes, 0, at)
    // What are the last letters both times was not taken.
    const letters = stream.count - stream.since
    let left = Math.min(letters, most)
    while (left > 0 && stream.print(left) !== stream.print(left, behind)) left -= 1
    if (left < letters) takers.push({ before, taken: letters - left })
  }
  return takers
}

/** How many letters numbers and names may take that end with one of these signs. */
function takenByEnd(run: Buffer): number[] {
  const end = run.findIndex((byte) => byte === semicolon || byte === closeBrace)
  return end === -1 || end > mostTakenByName ? [] : [lettersIn(run, 0, end)]
}

/** What may stand before a form and take what it begins with for its own: the beginnings of writings. */
const beginnings = [
  ...['%', '=', '\\x'].flatMap((before) => partly(before, 2)),
  ...['%u', '\\u'].flatMap((before) => partly(before, 4)),
  ...partly('\\U', 8),
  ...['', '0', '00', '01', '04', '07', '1', '10', '13', '4', '7'].map((digits) => `\\${digits}`),
].map((before) => Buffer.from(before))

/** With fewer digits than `digits`; the last ones such that with one more they may say a sign that begins a writing. */
function partly(before: string, digits: number): string[] {
  const zeros = Array.from({ length: digits }, (_, count) => before + '0'.repeat(count))
  return [...zeros, ...Array.from('235', (digit) => before + '0'.repeat(digits - 2) + digit)]
}

export function lettersIn(bytes: Buffer, from: number, to: number): number {
  let letters = 0
  for (let at = from; at < to; at += 1) if (isLetter(bytes[at] ?? 0)) letters += 1
  return letters
}

export function isLetter(byte: number): boolean {
  return ownKinds[byte] === letter
}
