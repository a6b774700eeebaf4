/** What every surface says where tools run without a sandbox. */
export const noIsolation =
  'NO ISOLATION: tools run as plain processes and can read whatever this user can. docs/guides/sandboxes.md says how to get sandboxes.'

/** In red where somebody looks; plain in a file or a pipe, and where colour is not wanted. */
export function red(text: string, stream: { isTTY?: boolean }): string {
  return stream.isTTY === true ? `\u001b[31m${text}\u001b[0m` : text
}
