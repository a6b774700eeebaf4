export interface GatherOptions<Item, Result> {
  /** Statements under way at once. */
  atOnce: number
  /** Items in one statement. */
  most: number
  /** One result for each item, in order. */
  run(items: Item[]): Promise<Result[]>
}

/** Adds an item to the next statement; one that is patient waits up to that many ms for another to go with. */
export type Gather<Item, Result> = (item: Item, patienceMs?: number) => Promise<Result>

/**
 * Sends an item at once while fewer than `atOnce` statements are under way; what comes meanwhile goes together into
 * the next one. A lone caller never waits, and a crowd shares statements and commits. An item is never added to a
 * statement that has begun, so what one reads is no older than the item. Data that PostgreSQL refuses (classes 22
 * and 23: nothing was written) fails its own item only: the others are sent again, each alone.
 */
export function gather<Item, Result>(options: GatherOptions<Item, Result>): Gather<Item, Result> {
  interface Waiting {
    item: Item
    resolve(result: Result): void
    reject(error: unknown): void
  }
  const queue: Waiting[] = []
  let underWay = 0
  let isDue = false
  let timer: NodeJS.Timeout | undefined

  const send = async (batch: Waiting[]): Promise<void> => {
    try {
      const results = await options.run(batch.map(({ item }) => item))
      for (const [index, waiting] of batch.entries()) waiting.resolve(results[index] as Result)
    } catch (error) {
      if (batch.length > 1 && isRefusedData(error)) for (const waiting of batch) await send([waiting])
      else for (const waiting of batch) waiting.reject(error)
    }
  }
  const pump = (): void => {
    while (isDue && underWay < options.atOnce) {
      underWay += 1
      const batch = queue.splice(0, options.most)
      isDue = queue.length > 0
      void send(batch).finally(() => {
        underWay -= 1
        pump()
      })
    }
  }
  const due = (): void => {
    clearTimeout(timer)
    timer = undefined
    isDue = queue.length > 0
    pump()
  }

  return (item, patienceMs = 0) =>
    new Promise((resolve, reject) => {
      queue.push({ item, resolve, reject })
      if (patienceMs === 0) due()
      else timer ??= setTimeout(due, patienceMs)
    })
}

function isRefusedData(error: unknown): boolean {
  const code: unknown = (error as { code?: unknown }).code
  return typeof code === 'string' && /^2[23]...$/.test(code)
}
