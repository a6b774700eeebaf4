import type { SourceLaunch } from '../wire/index.ts'
import { placeApp } from './app-folder.ts'
import type { Source, SourceOptions } from './source.ts'
import { createSource } from './source.ts'

/** The sources that were put into this sandbox. */
export interface Sources {
  /** Puts a source and starts it in the background; again with the same digest: nothing changes. */
  put(launch: SourceLaunch): Source
  find(id: string): Source | undefined
  list(): Source[]
  /** Ends all of them for good; their calls are answered that the sandbox is stopping. */
  close(): Promise<void>
}

export function createSources(options: Omit<SourceOptions, 'launch'>): Sources {
  const sources = new Map<string, Source>()
  return {
    put(asConfigured) {
      const launch = placeApp(asConfigured)
      let source = sources.get(launch.id)
      if (source === undefined) {
        source = createSource({ ...options, launch })
        sources.set(launch.id, source)
      } else source.relaunch(launch)
      source.prewarm()
      return source
    },
    find: (id) => sources.get(id),
    list: () => [...sources.values()],
    async close() {
      await Promise.all([...sources.values()].map((source) => source.close()))
    },
  }
}
