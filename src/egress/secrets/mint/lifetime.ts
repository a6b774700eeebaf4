/** How long a token is used, and how long answers are searched for it: it is good for longer than it is handed out. */
export interface Lifetime {
  /** Renewed a little before that. */
  usedMs: number
  /** It is taken to be worth nothing after that. */
  searchedMs: number
}

export const hourMs = 3_600_000
const dayMs = 24 * hourMs
/** One that ends sooner is used that long all the same: or every request would ask for another. */
const shortestUseMs = 1_000
const longestSearchMs = 400 * dayMs
/** Nobody knows when one ends whose life is not stated; a 401 says that it has. */
const unstated: Lifetime = { usedMs: hourMs, searchedMs: 30 * dayMs }

/** `statedMs` is what the server says from now on; undefined, not finite or not positive is not stated. */
export function lifetimeOf(statedMs: number | undefined): Lifetime {
  if (statedMs === undefined || !Number.isFinite(statedMs) || statedMs <= 0) return unstated
  const lifeMs = Math.max(statedMs, shortestUseMs)
  return { usedMs: Math.min(lifeMs, dayMs), searchedMs: Math.min(lifeMs, longestSearchMs) }
}

/** Renewed a little before it ends, so that none ends on its way: a fifth of a short life, a minute of a long one. */
export function renewAfter({ usedMs }: Lifetime): number {
  return usedMs - Math.min(60_000, usedMs / 5)
}

/**
 * How old a token must be to be renewed because of a 401, when `lately` were minted in the last hour, it among them.
 * Whoever gets a 401 at will makes everybody who shares the token wait for another, and the server may count them: so
 * it is half a minute at first, and five when that has not helped.
 */
export function refusableAfter(lately: number): number {
  return Math.min(30_000 * 2 ** Math.max(0, lately - 1), 300_000)
}
