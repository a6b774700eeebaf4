/** Hides bytes. A mask is as long as what it hides, so that lengths and framing stay true. */
export function mask(bytes: Buffer, from: number, to: number): void {
  bytes.fill('*', from, to)
}
