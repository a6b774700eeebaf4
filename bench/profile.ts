import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'

interface Profile {
  nodes: { id: number; callFrame: { functionName: string; url: string; lineNumber: number } }[]
  samples: number[]
  timeDeltas: number[]
}

export interface ProfileSummary {
  /** Microseconds of CPU per call by area, largest first. */
  byArea: { area: string; microseconds: number }[]
  /** The functions with the most time of their own. */
  hottest: { name: string; microseconds: number }[]
}

/** Self time of the CPU profile in `folder`, per call; idle time is left out. */
export function summariseProfile(folder: string, root: string, calls: number): ProfileSummary {
  // A server that started again in place left a small one of its first life.
  const [file] = readdirSync(folder)
    .filter((name) => name.endsWith('.cpuprofile'))
    .toSorted((a, b) => statSync(join(folder, b)).size - statSync(join(folder, a)).size)
  if (file === undefined) throw new Error('the gateway left no CPU profile')
  const profile = JSON.parse(readFileSync(join(folder, file), 'utf8')) as Profile
  const nodes = new Map(profile.nodes.map((node) => [node.id, node.callFrame]))
  const areas = new Map<string, number>()
  const functions = new Map<string, number>()
  for (const [index, id] of profile.samples.entries()) {
    const frame = nodes.get(id)
    if (frame === undefined || ['(idle)', '(root)'].includes(frame.functionName)) continue
    const area = areaOf(frame, root)
    const name = `${frame.functionName || '(anonymous)'} ${area}:${frame.lineNumber + 1}`
    const time = (profile.timeDeltas[index] ?? 0) / calls
    areas.set(area, (areas.get(area) ?? 0) + time)
    functions.set(name, (functions.get(name) ?? 0) + time)
  }
  const top = (map: Map<string, number>, count: number) =>
    [...map]
      .toSorted((a, b) => b[1] - a[1])
      .slice(0, count)
      .map(([name, time]) => ({ name, microseconds: Math.round(time * 10) / 10 }))
  return {
    byArea: top(areas, 25).map(({ name, microseconds }) => ({ area: name, microseconds })),
    hottest: top(functions, 40),
  }
}

/** `src/calls`, `npm pg`, `node:net`, `(native)`: names without any path of this machine. */
function areaOf({ functionName, url }: { functionName: string; url: string }, root: string): string {
  if (functionName.startsWith('(')) return functionName
  if (url === '') return '(native)'
  if (url.startsWith('node:')) return `node:${url.slice(5).split('/').slice(0, 2).join('/')}`
  const path = decodeURI(url).replace('file://', '').replace(root, '')
  const npm = /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1]
  return npm === undefined ? path.split('/').slice(0, 2).join('/') : `npm ${npm}`
}
