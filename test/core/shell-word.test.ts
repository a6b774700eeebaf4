import { execFileSync } from 'node:child_process'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { shellWord } from '../../src/core/index.ts'

/** What a POSIX shell makes of a line of arguments. */
function readByShell(line: string): string[] {
  const read = execFileSync('sh', ['-c', `printf '%s\\0' ${line}`], { encoding: 'utf8' })
  return read.split('\0').slice(0, -1)
}

test('a shell reads a word back as one argument, whatever is in it', () => {
  // NUL can be in no argument.
  const word = fc.oneof(
    fc.string({ unit: fc.constantFrom(...Array.from(' \t\n\'"\\$`&;|<>(){}[]*?~!#=%^-./:aZ0')) }),
    fc.string({ unit: 'binary' }).map((text) => text.toWellFormed().replaceAll('\0', '')),
    fc.webUrl({ withQueryParameters: true }),
  )
  fc.assert(
    fc.property(fc.array(word, { minLength: 1, maxLength: 30 }), (words) => {
      expect(readByShell(words.map(shellWord).join(' '))).toEqual(words)
    }),
    { numRuns: 300 },
  )
})

test('a word in which nothing is special stays as people write it', () => {
  for (const word of ['https://api.example.com:8443/v1/a_b.c~', 'a=b,c@d%20+-'])
    expect(shellWord(word)).toBe(word.includes('~') ? `'${word}'` : word)
  expect(shellWord('')).toBe("''")
  expect(shellWord("it's")).toBe("'it'\\''s'")
})
