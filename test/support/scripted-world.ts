import { testStore } from './database.ts'
import { makePrincipal } from './replica.ts'
import { ScriptedMachine } from './scripted-driver.ts'
import { scriptedToolhost } from './scripted-toolhost.ts'

/** A database, a machine and toolhosts that do as they are told, and Alice: what replicas are started on. */
export async function setUp() {
  const store = await testStore()
  const machine = new ScriptedMachine()
  const toolhost = scriptedToolhost(machine)
  const alice = await makePrincipal(store)
  return { store, machine, toolhost, alice, [Symbol.asyncDispose]: () => store[Symbol.asyncDispose]() }
}
