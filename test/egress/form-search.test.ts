import fc from 'fast-check'
import { expect, test } from 'vitest'
import { FormSearch } from '../../src/egress/secrets/form-search.ts'
import { secretForms } from '../../src/egress/secrets/secret-forms.ts'

/** Every occurrence, found one form after the other. */
function plainly(forms: readonly Buffer[], bytes: Buffer): string[] {
  return forms
    .flatMap((form) => {
      const places: string[] = []
      for (let at = bytes.indexOf(form); at !== -1; at = bytes.indexOf(form, at + 1))
        places.push(`${at} ${form.length}`)
      return places
    })
    .toSorted()
}

function found(forms: readonly Buffer[], bytes: Buffer): string[] {
  const occurrences = new Set<string>()
  const search = new FormSearch(forms.map((form) => ({ bytes: form, lines: false, each: 1 })))
  search.begin().push(bytes, 0, (from, to) => occurrences.add(`${from} ${to - from}`))
  return [...occurrences].toSorted()
}

function places(occurrence: string): number[] {
  const [at = 0, length = 0] = occurrence.split(' ').map(Number)
  return Array.from({ length }, (_, i) => at + i)
}

test('all forms are found at once where each is found alone, and nowhere else', () => {
  // Few letters, so that forms overlap, contain and repeat each other.
  const letters = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), minLength: 1, maxLength: 9 })
  const forms = fc.uniqueArray(letters, { minLength: 1, maxLength: 8 })
  const text = fc.string({ unit: fc.constantFrom('a', 'b', 'c', 'd'), maxLength: 200 })
  fc.assert(
    fc.property(forms, text, (each, within) => {
      const buffers = each.map((form) => Buffer.from(form))
      expect(found(buffers, Buffer.from(within))).toEqual(plainly(buffers, Buffer.from(within)))
    }),
    { numRuns: 2_000 },
  )
})

test('forms of any bytes are found wherever they stand', () => {
  const bytes = fc.uint8Array({ minLength: 1, maxLength: 40 }).map((each) => Buffer.from(each))
  fc.assert(
    fc.property(fc.array(bytes, { minLength: 1, maxLength: 6 }), fc.array(bytes), (forms, between) => {
      const unique = [...new Map(forms.map((form) => [form.toString('hex'), form])).values()]
      const within = Buffer.concat(unique.flatMap((form, i) => [between[i] ?? Buffer.alloc(0), form]))
      // What stands before one may be a part of how it is written; then that is found.
      const masked = new Set(found(unique, within).flatMap(places))
      expect(
        plainly(unique, within)
          .flatMap(places)
          .filter((place) => !masked.has(place)),
      ).toEqual([])
    }),
  )
})

test('an ordinary key has so few forms that to look for them costs next to nothing', () => {
  const forms = secretForms(['wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEK=='])
  expect(forms.length).toBeLessThan(16)
})
