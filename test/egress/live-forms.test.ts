import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import { expect, onTestFinished, test, vi } from 'vitest'
import { newId, silentLog } from '../../src/core/index.ts'
import { EvenScrubber } from '../../src/egress/secrets/even-scrubber.ts'
import { LiveForms, type Sought } from '../../src/egress/secrets/live-forms.ts'
import { Place } from '../../src/egress/secrets/places.ts'
import { createPrepared } from '../../src/egress/secrets/prepared.ts'
import { bytesOf, compileSecrets } from '../../src/egress/secrets/scrub.ts'
import { createUnderWay } from '../../src/egress/secrets/under-way.ts'
import { testStore } from '../support/database.ts'
import { spellings } from '../support/spellings.ts'

const version = (of: string, n: number): Sought => ({ of, key: `${n}`, texts: [`${of}-secret-${n}.`] })
const big = (of: string): Sought => ({ of, key: of, texts: [of.repeat(200 * 1024)] })
const live = () => new LiveForms((sought) => compileSecrets(sought.flatMap(({ texts }) => texts)))

function shown(forms: LiveForms, text: string): string {
  const scrubber = new EvenScrubber(forms)
  return scrubber.push(Buffer.from(text)).toString() + scrubber.end().toString()
}

test('of each credential the newest versions are searched for, and every one that an answer began with', () => {
  const forms = live()
  forms.add([version('alone', 0)])
  const end = forms.use([version('busy', 0)])
  for (let n = 1; n <= 50; n += 1) forms.add([version('busy', n)])
  expect(shown(forms, 'alone-secret-0.')).toMatch(/^\*+$/)
  for (const n of [0, 43, 50]) expect(shown(forms, `busy-secret-${n}.`)).toMatch(/^\*+$/)
  expect(shown(forms, 'busy-secret-20.')).toBe('busy-secret-20.')
  end()
  forms.add([version('busy', 51)])
  expect(shown(forms, 'busy-secret-0.')).toBe('busy-secret-0.')
})

test('what answers under way began with is not forgotten for want of room: what is more is refused', () => {
  const forms = live()
  const end = forms.use([big('ab')])
  expect(forms.add([big('cd')])).toBe(false)
  expect(forms.add([version('small', 1)])).toBe(true)
  end()
  expect(forms.add([big('cd')])).toBe(true)
})

test('while an answer is under way the newest of whatever was added is not forgotten for want of room either', () => {
  const forms = live()
  const end = forms.use([version('small', 1)])
  expect(forms.add([big('ab')])).toBe(true)
  expect(forms.add([big('cd')])).toBe(false)
  end()
  expect(forms.add([big('cd')])).toBe(true)
})

test('where what is sent anyway finds no room, answers under way are cut off, and only they', () => {
  const forms = live()
  const end = forms.use([big('ab')])
  const scrubber = new EvenScrubber(forms)
  forms.insist([big('cd')])
  forms.use([])()
  expect(() => scrubber.push(Buffer.from('x'.repeat(100)))).toThrow('more credentials than answers')
  expect(forms.add([version('small', 1)])).toBe(false)
  expect(forms.add([big('ab')])).toBe(false)
  end()
  expect(forms.add([version('small', 1)])).toBe(true)
})

test('what waits when something new is sought is searched for that too, as far as it had come and from there on', () => {
  const [before, after, short] = ['K7-of/yesterday+x&"9', 'of-today=<Z8>#Q+/41', 'q~Z']
  const written = [(text: string) => text, ...spellings.map(([, spell]) => spell)]
  const part = fc.oneof(
    fc
      .constantFrom(before, after)
      .chain((secret) => fc.constantFrom(...written.map((spell) => spell(secret)))),
    fc.constantFrom('of-today', ' ', '"', '}\n', '\n\n'),
    fc.string({ maxLength: 30 }),
  )
  const first = compileSecrets([before])
  const next = [[after], [after, short]].map((texts) => ({ texts, all: compileSecrets([before, ...texts]) }))
  fc.assert(
    fc.property(
      fc.array(part, { maxLength: 8 }),
      fc.nat(),
      fc.constantFrom(...next),
      (parts, at, { texts, all }) => {
        const text = Buffer.from(parts.join(''))
        const forms = new LiveForms((sought) => (sought.length === 1 ? first : all))
        forms.use([{ of: 'key', key: 'before', texts: [before] }])
        const scrubber = new EvenScrubber(forms)
        const cut = at % (text.length + 1)
        const gone = scrubber.push(text.subarray(0, cut))
        forms.add([{ of: 'key', key: 'after', texts }])
        const rest = [scrubber.push(text.subarray(cut)), scrubber.end()]
        const masked = Buffer.from(text)
        all.search.begin().push(text, 0, (from, to) => masked.fill('*', from, to))
        // What had gone was searched for the one alone.
        expect(Buffer.concat(rest).toString('latin1')).toBe(masked.toString('latin1', gone.length))
      },
    ),
    { numRuns: 1_000 },
  )
})

test('of sources that asked at a place the last sixteen are kept, and each to which an answer is under way', () => {
  const place = new Place(() => compileSecrets(['a-secret']))
  const asked = Array.from({ length: 20 }, (_, n) => ({ rules: [n] }))
  const end = place.use(place.ask(asked[0] as (typeof asked)[number]), [])
  for (const each of asked) expect(place.ask(each)).toBe(each)
  expect(place.asked).toEqual([asked[0], ...asked.slice(4)])
  expect(place.underWay).toEqual([asked[0]])
  end()
  expect(place.underWay).toEqual([])
})

test('nothing is made ready before it is searched by, and then once', () => {
  let made = 0
  const forms = new LiveForms((sought) => {
    made += 1
    return compileSecrets(sought.flatMap(({ texts }) => texts))
  })
  for (let n = 0; n < 5; n += 1) forms.add([version('busy', n)])
  const end = forms.use([version('busy', 4)])
  expect(made).toBe(0)
  shown(forms, 'busy-secret-4.')
  shown(forms, 'busy-secret-4.')
  expect(made).toBe(1)
  end()
})

test('what was made ready is held by those whose answers are under way, and otherwise only so many bytes of it', async () => {
  setFlagsFromString('--expose-gc')
  const collectGarbage = runInNewContext('gc') as () => void
  const prepared = createPrepared(3.5 * bytesOf(compileSecrets(['a-secret-0.'])))
  const people = Array.from({ length: 20 }, (_, n) => ({
    n,
    forms: new LiveForms((sought) => prepared.of(sought)),
  }))
  const begun = people.map(({ n, forms }) => {
    forms.add([version('a', n)])
    const end = forms.use([version('a', n)])
    return { search: new WeakRef(forms.search), end }
  })
  /** How many are left, once this turn is over, in which none can go. */
  const left = async () => {
    await new Promise(setImmediate)
    collectGarbage()
    return begun.filter(({ search }) => search.deref() !== undefined).length
  }
  expect(await left()).toBe(20)
  for (const { end } of begun) end()
  expect(await left()).toBe(3)
  for (const { n, forms } of people) expect(shown(forms, `a-secret-${n}.`)).toMatch(/^\*+$/)
  for (const { forms } of people) forms.use([])()
  for (const [at, { forms }] of people.entries())
    Object.assign(begun[at] ?? {}, { search: new WeakRef(forms.search) })
  expect(await left()).toBe(3)
})

test('what was made ready is forgotten when nobody asks for it, though nobody asks for anything else either', async () => {
  let now = 0
  const prepared = createPrepared(1e9, () => now)
  await using store = await testStore()
  const looked = Promise.withResolvers<void>()
  const forgetUnused = () => {
    prepared.forgetUnused()
    looked.resolve()
  }
  const underWay = createUnderWay({
    store,
    valueOf: async () => undefined,
    prepared: { ...prepared, forgetUnused },
    log: silentLog,
  })
  const [old, used] = [[version('a', 1)], [version('a', 2)]]
  const [first, second] = [prepared.of(old), prepared.of(used)]
  now += 6 * 60_000
  expect(prepared.of(used)).toBe(second)
  now += 6 * 60_000
  // It looks every few seconds.
  underWay.changed()
  await looked.promise
  await underWay.close()
  expect(prepared.of(used)).toBe(second)
  expect(prepared.of(old)).not.toBe(first)
})

test('what is under way is read again before it is five seconds old, whenever it was read', async () => {
  await using store = await testStore()
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
  onTestFinished(() => void vi.useRealTimers())
  const underWay = createUnderWay({
    store,
    valueOf: async () => undefined,
    prepared: createPrepared(1e9),
    log: silentLog,
  })
  const needs = { atHost: [], alongside: [], names: [], key: '', mints: true }
  const principalId = newId('prn')
  const place = underWay.place(principalId, 'api.example.com')
  const begun: { asking: ReturnType<typeof place.ask>; oldest: number }[] = []
  for (let ms = 0; ms < 20_000; ms += 100) {
    for (const each of begun) each.oldest = Math.max(each.oldest, performance.now() - each.asking.readAt)
    if (ms % 700 === 0 && ms < 6_000) {
      const readAt = performance.now()
      const asking = place.ask({ rules: [], needs, minted: {}, principalId, reading: undefined, readAt })
      underWay.use(place, asking, [])
      begun.push({ asking, oldest: 0 })
    }
    await vi.advanceTimersByTimeAsync(100)
  }
  for (const { oldest } of begun) expect(oldest).toBeLessThan(5_000)
  await underWay.close()
})
