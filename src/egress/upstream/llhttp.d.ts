/** llhttp as WebAssembly, as undici builds and ships it. */
declare module 'undici/lib/llhttp/llhttp_simd-wasm.js' {
  const binary: Buffer
  export = binary
}

/** As much of it as Node's types leave out and is used here. */
declare namespace WebAssembly {
  class Module {
    constructor(binary: Uint8Array)
  }
  class Instance {
    constructor(module: Module, imports: Record<string, Record<string, (...args: number[]) => number>>)
    readonly exports: unknown
  }
}
