export interface GatherOptions<Item, Result> {
  /** Statements under way at once. */
  atOnce: number
  /** Items in one statement. */
  most: number
  /** One result for each item, in order. */
  run(items: Item[]): Promise<Result[]>
}

/**
 * Sends an item at once while fewer than `atOnce` statements are under way; what comes meanwhile goes together into
 * the next one. A lone caller never waits, and a crowd shares statements and commits. An item is never added to a
 * statement that has begun, so what one reads is no older than the item. Data that PostgreSQL refuses (classes 22
 * and 23: nothing was written) fails its own item only: the others are sent again, each alone.
 */
export function gather<Item, Result>(
  options: GatherOptions<Item, Result>,
): (item: Item) => Promise<Result> {
  interface Waiting {
    item: Item
    resolve(result: Result): void
    reject(error: unknown): void
  }
  const queue: Waiting[] = []
  let underWay = 0

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
    while (underWay < options.atOnce && queue.length > 0) {
      underWay += 1
      void send(queue.splice(0, options.most)).finally(() => {
        underWay -= 1
        pump()
      })
    }
  }

  return (item) =>
    new Promise((resolve, reject) => {
      queue.push({ item, resolve, reject })
      pump()
    })
}

function isRefusedData(error: unknown): boolean {
  const code: unknown = (error as { code?: unknown }).code
  return typeof code === 'string' && code.length === 5 && /^2[23]/.test(code)
}
