import {
  type BrotliDecompress,
  constants,
  createBrotliDecompress,
  createGunzip,
  createZstdDecompress,
  type Gunzip,
  type ZstdDecompress,
} from 'node:zlib'
import type { Pausable } from '../bounds/search-share.ts'
import { putWaitingCrumbsTogether } from '../bounds/waiting-crumbs.ts'
import { spent } from '../economy/spent-buffers.ts'
import { headerValues } from '../request/head.ts'
import type { BodyReader, UpstreamAnswer } from '../upstream/channel.ts'

const decoders = {
  gzip: () => createGunzip(),
  'x-gzip': () => createGunzip(),
  br: () => createBrotliDecompress(),
  // RFC 8878 section 3.1.1.1.2: a window of 8 MiB is what a decoder should support, and no more is asked of it.
  zstd: () => createZstdDecompress({ params: { [constants.ZSTD_d_windowLogMax]: 23 } }),
} as const

/** How a body was coded: not at all, in one way that can be undone, or in another. */
export type Coding = 'none' | keyof typeof decoders | 'unknown'

/** What `Content-Encoding` says (RFC 9110 section 8.4); codings upon codings are unknown. */
export function codingOf(rawHeaders: readonly string[]): Coding {
  const values = headerValues(rawHeaders, 'content-encoding')
  if (values.length === 0) return 'none'
  const names = values
    .flatMap((value) => value.split(','))
    .map((name) => name.trim().toLowerCase())
    .filter((name) => name !== 'identity')
  const [name, ...more] = names
  if (name === undefined) return 'none'
  return more.length === 0 && Object.hasOwn(decoders, name) ? (name as keyof typeof decoders) : 'unknown'
}

/**
 * Undoes a coding as bytes come and go on, holding one window of it. Errors where the coding is broken or cut off; ends
 * where the coding ends, whatever stands behind it. It makes as much of as little as it can: a border would tell how
 * well a text was compressed, and so what stands beside it (docs/decisions/0041).
 */
export function createDecoder(coding: keyof typeof decoders): Gunzip | BrotliDecompress | ZstdDecompress {
  return decoders[coding]()
}

/**
 * The body of an answer without its coding. It is whole only where it ends with its coding: what stands behind that is
 * not decoded, and may never end.
 */
export class DecodedBody implements Pausable {
  readonly #from: UpstreamAnswer
  readonly #decoder: ReturnType<typeof createDecoder>
  /** Bytes of the coding so far. */
  #coded = 0
  #isOver = false

  constructor(from: UpstreamAnswer, coding: keyof typeof decoders) {
    this.#from = from
    this.#decoder = createDecoder(coding)
    putWaitingCrumbsTogether(this.#decoder)
  }

  pause(): void {
    this.#decoder.pause()
  }

  resume(): void {
    this.#decoder.resume()
  }

  /** What comes from here on is neither decoded nor told. */
  destroy(): void {
    this.#isOver = true
    this.#decoder.destroy()
  }

  /** As of the answer itself. */
  read(reader: BodyReader): void {
    const decoder = this.#decoder
    let trailers: readonly string[] = []
    decoder.on('error', () => reader.failed())
    decoder.on('data', (part: Buffer) => reader.data(part))
    decoder.on('end', () => (decoder.bytesWritten === this.#coded ? reader.ended(trailers) : reader.failed()))
    this.#from.read({
      data: (part) => {
        spent(part.length)
        this.#coded += part.length
        if (this.#isOver || decoder.write(part)) return
        this.#from.pause()
        decoder.once('drain', () => this.#from.resume())
      },
      ended: (fields) => {
        trailers = fields
        if (!this.#isOver) decoder.end()
      },
      failed: () => reader.failed(),
    })
  }
}
