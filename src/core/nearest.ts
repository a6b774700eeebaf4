import { editDistance } from './edit-distance.ts'

/** Up to three of `names` that somebody who wrote `wrong` may have meant, nearest first; case tells nothing. */
export function nearest(wrong: string, names: readonly string[]): string[] {
  const text = wrong.toLowerCase().slice(0, 64)
  return names
    .map((name) => {
      const own = name.toLowerCase()
      return { name, distance: own.includes(text) && text.length > 2 ? 1 : editDistance(text, own) }
    })
    .filter(({ name, distance }) => distance <= Math.max(2, name.length / 3))
    .toSorted((a, b) => a.distance - b.distance || (a.name < b.name ? -1 : 1))
    .slice(0, 3)
    .map(({ name }) => name)
}
