/** `text` as one word of a POSIX shell, left as it is when nothing in it is special to one. */
export function shellWord(text: string): string {
  return /^(?!=)[A-Za-z0-9_./:@%+=,-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`
}
