/**
 * Node's own `http`. Imported as an ES module it brings all that it could give, and with it a WebSocket for which Node
 * loads a whole HTTP client: 7 MB and 40 ms of every process, a sandbox's too. Taken this way, only what is used comes.
 */
export const http = process.getBuiltinModule('node:http')
