/** A preload: every name is this machine. For peers, whose own ways to say so differ. */
import dns from 'node:dns'

type Found = (error: null, address: unknown, family?: number) => void

function lookup(_name: string, given: unknown, callback?: Found): void {
  const options = typeof given === 'object' && given !== null ? (given as { all?: boolean }) : {}
  const found = callback ?? (given as Found)
  setImmediate(() => {
    if (options.all === true) found(null, [{ address: '127.0.0.1', family: 4 }])
    else found(null, '127.0.0.1', 4)
  })
}

Object.assign(dns, { lookup })
