import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { SourceLaunch } from '../wire/index.ts'

/** Where Toolcrib's own files lie as this process sees them: `/opt/toolcrib` in a sandbox, the checkout without one. */
const appFolder = dirname(dirname(dirname(fileURLToPath(import.meta.url))))

/** A command or argument that begins with `{app}/` names one of Toolcrib's own files, wherever those lie here. */
export function placeApp(launch: SourceLaunch, folder: string = appFolder): SourceLaunch {
  const place = (text: string) => (text.startsWith('{app}/') ? folder + text.slice('{app}'.length) : text)
  return { ...launch, command: place(launch.command), args: launch.args.map(place) }
}
