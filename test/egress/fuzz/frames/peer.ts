/** One side of a connection by HTTP/2, frame by frame: it keeps to the windows, and to nothing else that it is not told. */
import type { Socket } from 'node:net'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import { frame, frameFlag, frameType, headerBlock } from '../../../support/http2.ts'
import type { Chance } from '../fuzz.ts'
import { BlockReader, type Fields } from './hpack.ts'

/** How it behaves whatever is asked on it. */
export interface Ways {
  /** The window of each stream that it lets the other side have at first. */
  window: number
  /** It gives a window back only in parts of this size, or at once what was read. */
  gives: number | 'all'
  /** It waits so long before it gives, in milliseconds. */
  givesAfter: number
  /** It sends pings, settings and frames that mean nothing in between. */
  chatters: boolean
}

export function makeWays(chance: Chance): Ways {
  return {
    window: chance.of([1_000, 16_384, 65_535, 65_535, 1_000_000]),
    gives: chance.of(['all', 'all', 700, 9_000] as const),
    givesAfter: chance.of([0, 0, 0, 1, 5]),
    chatters: chance.once(3),
  }
}

export interface Hears {
  headers(stream: number, fields: Fields, isEnd: boolean): void
  data(stream: number, piece: Buffer, isEnd: boolean): void
  reset(stream: number, code: number): void
  goaway(last: number, code: number): void
  /** Nothing more comes. */
  closed(): void
}

interface Windows {
  send: number
  wakes: (() => void)[]
}

export const errorCode = {
  none: 0,
  protocol: 1,
  internal: 2,
  flowControl: 3,
  streamClosed: 5,
  refused: 7,
  cancel: 8,
  calm: 11,
} as const

const setting = { tableSize: 1, push: 2, window: 4, frameSize: 5 } as const

export function settings(...pairs: [id: number, value: number][]): Buffer {
  const payload = Buffer.alloc(6 * pairs.length)
  for (const [index, [id, value]] of pairs.entries()) {
    payload.writeUInt16BE(id, 6 * index)
    payload.writeUInt32BE(value, 6 * index + 2)
  }
  return frame(frameType.settings, 0, 0, payload)
}

export function number32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

export class Peer {
  readonly socket: Socket
  readonly #chance: Chance
  readonly #ways: Ways
  readonly #hears: Hears
  readonly #blocks = new BlockReader()
  #rest: Buffer = Buffer.alloc(0)
  #prefaceLeft: number
  /** Of a block that goes on in CONTINUATION frames. */
  #open: { stream: number; isEnd: boolean; block: Buffer } | undefined
  #connectionWindow: Windows = { send: 65_535, wakes: [] }
  #windows = new Map<number, Windows>()
  #theirWindow = 65_535
  #givenBack = new Map<number, number>()
  closed = false

  constructor(socket: Socket, isServer: boolean, ways: Ways, chance: Chance, hears: Hears) {
    this.socket = socket
    this.#chance = chance
    this.#ways = ways
    this.#hears = hears
    this.#prefaceLeft = isServer ? 24 : 0
    socket.on('error', () => undefined)
    socket.once('close', () => this.#close())
    socket.once('end', () => socket.end())
    socket.on('data', (piece: Buffer) => {
      try {
        this.#read(piece)
      } catch {
        socket.destroy()
      }
    })
    const own: [number, number][] = [[setting.window, ways.window]]
    if (!isServer) own.push([setting.push, 0])
    if (chance.once(4)) own.push([setting.tableSize, chance.of([0, 100, 4_096])])
    const hello = isServer ? '' : 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'
    this.write(Buffer.concat([Buffer.from(hello), settings(...own)]))
    // No stream is held up by another that is not read.
    this.write(frame(frameType.windowUpdate, 0, 0, number32(2 ** 30)))
  }

  write(bytes: Buffer): void {
    if (!this.closed && this.socket.writable) this.socket.write(bytes)
  }

  /** A head, or trailers, in as many frames as chance will have. */
  headers(stream: number, fields: Fields, isEnd: boolean): void {
    this.write(Buffer.concat(headerFrames(this.#chance, stream, fields, isEnd)))
  }

  /** A body to its end, as the windows let it go; false where its connection or `stopped` ended it first. */
  async body(stream: number, body: Buffer, isEnd: boolean, stopped: () => boolean): Promise<boolean> {
    const chance = this.#chance
    let at = 0
    if (body.length === 0 && isEnd) this.write(frame(frameType.data, frameFlag.endStream, stream))
    while (at < body.length) {
      if (chance.once(5)) this.write(frame(frameType.data, 0, stream))
      if (chance.once(6)) await (chance.once(2) ? nextTurn() : sleep(chance.of([1, 3])))
      const wanted = Math.min(body.length - at, 1 + chance.below(chance.of([10, 1_000, 16_000])))
      const padding = chance.once(5) ? chance.below(100) : undefined
      const extra = padding === undefined ? 0 : padding + 1
      const size = await this.#room(stream, wanted, extra, stopped)
      if (size === undefined || stopped()) return false
      const piece = body.subarray(at, at + size)
      at += size
      // An end of its own is a frame without bytes.
      const ends = isEnd && at === body.length
      const apart = ends && chance.once(3)
      const flags =
        (ends && !apart ? frameFlag.endStream : 0) | (padding === undefined ? 0 : frameFlag.padded)
      const payload =
        padding === undefined ? piece : Buffer.concat([Buffer.from([padding]), piece, Buffer.alloc(padding)])
      this.write(frame(frameType.data, flags, stream, payload))
      if (apart) this.write(frame(frameType.data, frameFlag.endStream, stream))
      this.#chatter()
    }
    return !this.closed
  }

  reset(stream: number, code: number): void {
    this.write(frame(frameType.reset, 0, stream, number32(code)))
  }

  goaway(last: number, code: number): void {
    this.write(frame(frameType.goaway, 0, 0, Buffer.concat([number32(last), number32(code)])))
  }

  /** Whoever waits to send on this stream looks whether it still may. */
  wake(stream: number): void {
    const windows = this.#windows.get(stream)
    for (const wake of windows?.wakes.splice(0) ?? []) wake()
    for (const wake of this.#connectionWindow.wakes.splice(0)) wake()
  }

  /** Takes at most `wanted` bytes, and `extra` beside them, from both windows. */
  async #room(
    stream: number,
    wanted: number,
    extra: number,
    stopped: () => boolean,
  ): Promise<number | undefined> {
    const own = this.#windowsOf(stream)
    for (;;) {
      if (this.closed || stopped()) return undefined
      const room = Math.min(own.send, this.#connectionWindow.send) - extra
      if (room > 0) {
        const size = Math.min(wanted, room)
        own.send -= size + extra
        this.#connectionWindow.send -= size + extra
        return size
      }
      const narrow = own.send <= extra ? own : this.#connectionWindow
      await new Promise<void>((resolve) => narrow.wakes.push(resolve))
    }
  }

  #windowsOf(stream: number): Windows {
    if (stream === 0) return this.#connectionWindow
    let windows = this.#windows.get(stream)
    if (windows === undefined) {
      windows = { send: this.#theirWindow, wakes: [] }
      this.#windows.set(stream, windows)
    }
    return windows
  }

  #read(piece: Buffer): void {
    const skipped = Math.min(this.#prefaceLeft, piece.length)
    this.#prefaceLeft -= skipped
    this.#rest = Buffer.concat([this.#rest, piece.subarray(skipped)])
    for (;;) {
      const length = this.#rest.length < 9 ? Number.POSITIVE_INFINITY : this.#rest.readUIntBE(0, 3)
      if (this.#rest.length < 9 + length) return
      const head = this.#rest.subarray(0, 9)
      const payload = this.#rest.subarray(9, 9 + length)
      this.#rest = this.#rest.subarray(9 + length)
      this.#heard(head[3] ?? 0, head[4] ?? 0, head.readUInt32BE(5) & 0x7f_ff_ff_ff, payload)
    }
  }

  #heard(type: number, flags: number, stream: number, payload: Buffer): void {
    const isEnd = (flags & frameFlag.endStream) !== 0
    if (type === frameType.data) {
      const piece = (flags & frameFlag.padded) === 0 ? payload : unpadded(payload)
      if (!isEnd) this.#give(stream, payload.length)
      this.#hears.data(stream, piece, isEnd)
    } else if (type === frameType.headers) {
      let block = (flags & frameFlag.padded) === 0 ? payload : unpadded(payload)
      if ((flags & priority) !== 0) block = block.subarray(5)
      this.#open = { stream, isEnd, block }
      if ((flags & frameFlag.endHeaders) !== 0) this.#endBlock()
    } else if (type === frameType.continuation && this.#open !== undefined) {
      this.#open.block = Buffer.concat([this.#open.block, payload])
      if ((flags & frameFlag.endHeaders) !== 0) this.#endBlock()
    } else if (type === frameType.settings && (flags & 1) === 0) this.#settings(payload)
    else if (type === frameType.ping && (flags & 1) === 0) this.write(frame(frameType.ping, 1, 0, payload))
    else if (type === frameType.windowUpdate) {
      this.#windowsOf(stream).send += payload.readUInt32BE(0)
      this.wake(stream)
    } else if (type === frameType.reset) this.#hears.reset(stream, payload.readUInt32BE(0))
    else if (type === frameType.goaway)
      this.#hears.goaway(payload.readUInt32BE(0) & 0x7f_ff_ff_ff, payload.readUInt32BE(4))
  }

  #endBlock(): void {
    if (this.#open === undefined) return
    const { stream, isEnd, block } = this.#open
    this.#open = undefined
    this.#hears.headers(stream, this.#blocks.read(block), isEnd)
  }

  #settings(payload: Buffer): void {
    for (let at = 0; at < payload.length; at += 6) {
      if (payload.readUInt16BE(at) !== setting.window) continue
      const change = payload.readUInt32BE(at + 2) - this.#theirWindow
      this.#theirWindow += change
      for (const [stream, windows] of this.#windows) {
        windows.send += change
        this.wake(stream)
      }
    }
    this.write(frame(frameType.settings, 1, 0))
  }

  /** Gives a stream's window back, in its own way. */
  #give(stream: number, bytes: number): void {
    const { gives, givesAfter } = this.#ways
    const owed = (this.#givenBack.get(stream) ?? 0) + bytes
    // What is held back must be less than the window itself, or nothing would ever come.
    const isDue = gives === 'all' || owed >= Math.min(gives, this.#ways.window)
    this.#givenBack.set(stream, isDue ? 0 : owed)
    if (!isDue || owed === 0) return
    const give = () => this.write(frame(frameType.windowUpdate, 0, stream, number32(owed)))
    if (givesAfter === 0) give()
    else setTimeout(give, givesAfter)
  }

  #chatter(): void {
    const chance = this.#chance
    if (!this.#ways.chatters || !chance.once(10)) return
    const kinds = [
      () => frame(frameType.ping, 0, 0, Buffer.from('fuzzing!')),
      () => settings([setting.tableSize, chance.of([0, 4_096])]),
      () => settings([setting.frameSize, chance.of([16_384, 20_000])]),
      // Of a type that nobody knows (RFC 9113 section 4.1).
      () => frame(0xfa, 0xff, chance.of([0, 1, 99]), Buffer.from('unknown')),
    ]
    this.write(chance.of(kinds)())
  }

  #close(): void {
    this.closed = true
    for (const windows of [this.#connectionWindow, ...this.#windows.values()])
      for (const wake of windows.wakes.splice(0)) wake()
    this.#hears.closed()
  }
}

const priority = 0x20

function unpadded(payload: Buffer): Buffer {
  return payload.subarray(1, payload.length - (payload[0] ?? 0))
}

/** HEADERS and CONTINUATION frames, padded, with priority, cut anywhere. */
export function headerFrames(chance: Chance, stream: number, fields: Fields, isEnd: boolean): Buffer[] {
  let block = headerBlock(fields)
  const pieces: Buffer[] = []
  // Beyond eight nghttp2 takes it for a flood.
  const count = chance.once(3) ? 1 + chance.below(7) : 1
  while (pieces.length < count - 1) {
    const size = Math.min(16_000, chance.below(Math.ceil(block.length / 2) + 1))
    pieces.push(block.subarray(0, size))
    block = block.subarray(size)
  }
  do {
    pieces.push(block.subarray(0, 16_000))
    block = block.subarray(16_000)
  } while (block.length > 0)
  return pieces.map((piece, index) => {
    const last = index === pieces.length - 1 ? frameFlag.endHeaders : 0
    if (index > 0) return frame(frameType.continuation, last, stream, piece)
    const flags = last | (isEnd ? frameFlag.endStream : 0)
    const padding = chance.once(5) ? chance.below(100) : undefined
    const weight = chance.once(5) ? Buffer.from([0, 0, 0, 0, chance.below(256)]) : undefined
    return frame(
      frameType.headers,
      flags | (padding === undefined ? 0 : frameFlag.padded) | (weight === undefined ? 0 : priority),
      stream,
      Buffer.concat([
        Buffer.from(padding === undefined ? [] : [padding]),
        weight ?? Buffer.alloc(0),
        piece,
        Buffer.alloc(padding ?? 0),
      ]),
    )
  })
}
