/**
 * What the loop does for somebody's bytes, in ms as a machine of 2025 takes them. Priced, and not measured: how an answer
 * is cut must not tell what was found in it, and that the machine paused is nobody's doing.
 */

/** Of a piece of a body, a frame or a chunk, whatever its length. */
export const msPerPiece = 0.002
/** Of a request, which is read, judged and sent. */
export const msPerRequest = 0.1
/** Of a field of a head, or of trailers. */
export const msPerField = 0.0015
/** Of a byte of HTTP/2 that is of no body: frames have nine and more. */
export const msPerFramingByte = 5e-5
/** Of a byte, which is decrypted and encrypted. */
export const msPerByte = 2e-6
/** And where it is searched too. */
export const msPerSearchedByte = 4e-6

let done = 0

/** Something that is worth so many ms was done, for whoever's bytes are being dealt with. */
export function worked(ms: number): void {
  done += ms
}

/** All that was done since this process began. */
export function workDone(): number {
  return done
}
