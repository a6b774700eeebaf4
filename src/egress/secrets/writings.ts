import { softBreak } from './char-set.ts'
import { htmlNames } from './html-names.ts'
import { type Step, WritingTree } from './writing-tree.ts'

const ascii = [0, 9, 10, 13, ...Array.from({ length: 95 }, (_, i) => 32 + i)]
const latin = Array.from({ length: 128 }, (_, i) => 128 + i)
/** Zeros before a number that may have some. */
const mostZeros = 7

/**
 * In how many ways programs write a character where it cannot stand, or need not stand, as itself. All of them for
 * each character: what one encoder leaves as it is another writes, and texts are made by several. Characters of ASCII
 * and Latin-1, for no credential has any other.
 *
 * `afterBreak` is the root behind a soft break of a line, behind which there is no other one.
 */
export const { root, afterBreak } = makeWritings()

function makeWritings(): { root: Step; afterBreak: Step } {
  const tree = new WritingTree()
  for (const char of [...ascii, ...latin]) {
    addOctets(tree, char)
    addNumbers(tree, char)
  }
  for (const before of ['&#', '&#x', '\\u{', '\\x{']) tree.padWithZeros(before, mostZeros)
  tree.alias('&#X', '&#x')
  for (const [char, names] of htmlNames) for (const name of names) tree.add(char, `&${name};`)
  // JSON, JavaScript, C, shells, what adds slashes to quotes: any sign may have one.
  for (const char of ascii)
    if (/[ -/:-@[-`{-~]/.test(String.fromCharCode(char))) tree.add(char, `\\${String.fromCharCode(char)}`)
  for (const [letter, char] of Object.entries({ t: 9, n: 10, r: 13 })) tree.add(char, `\\${letter}`)
  // Forms; CSV and SQL; a string of the shell's that ends, has a quote, and begins again.
  tree.add(32, '+')
  tree.add(34, '""')
  for (const quote of ["''", "'\\''", `'"'"'`]) tree.add(39, quote)
  // Quoted-printable.
  for (const end of ['\n', '\r\n']) tree.add(softBreak, `=${end}`)
  const afterBreak = tree.rootWithout('=', '\r\n')
  tree.finish()
  return { root: tree.root, afterBreak }
}

/** By the number of a byte: percent, quoted-printable, C and Python. */
function addOctets(tree: WritingTree, octet: number): void {
  const hex = octet.toString(16).padStart(2, '0')
  const octal = octet.toString(8)
  for (const before of ['%', '=', '\\x']) tree.add(octet, before, hex)
  for (const digits of [octal, octal.padStart(3, '0'), octal.padStart(4, '0')]) tree.add(octet, `\\${digits}`)
}

/** By the number of a character: JSON, JavaScript, C, Rust, Perl, `escape()`, HTML. */
function addNumbers(tree: WritingTree, char: number): void {
  const hex = char.toString(16)
  for (const before of ['\\u', '%u']) tree.add(char, before, hex.padStart(4, '0'))
  tree.add(char, '\\U', hex.padStart(8, '0'))
  if (char === 0) return
  for (const before of ['\\u{', '\\x{']) tree.add(char, before, hex, '}')
  tree.add(char, '&#x', hex, ';')
  tree.add(char, `&#${char};`)
}
