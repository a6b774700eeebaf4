import { newId } from '../../src/core/index.ts'
import { ScriptedMachine } from '../support/scripted-driver.ts'
import { driverContract, strangersContract } from './driver-contract.ts'

const makeHarness: Parameters<typeof strangersContract>[1] = async () => {
  const machine = new ScriptedMachine()
  let count = 0
  return {
    driver: machine.driver(),
    spec: (change) => {
      const name = `r-test-${++count}`
      return {
        name,
        homeName: `${name}-home`,
        principalId: newId('prn'),
        generation: 1,
        uid: newId('sbx'),
        caCertificate: '',
        limits: { memoryBytes: 1, processes: 1, openFiles: 1, parallelCalls: 4, queuedCalls: 4 },
        ...change,
      }
    },
    kill: async (name) => machine.kill(name),
    squat: async (name) => {
      machine.foreign.add(name)
    },
    leftovers: async (name) => (machine.sandboxes.has(name) ? [name] : []),
    async [Symbol.asyncDispose]() {},
  }
}

driverContract('scripted', makeHarness)
strangersContract('scripted', makeHarness)
