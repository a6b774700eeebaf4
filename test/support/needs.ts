import { inject, type TestContext, type TestOptions, test } from 'vitest'
import type { Lacking, Need } from './machine.ts'

declare module 'vitest' {
  interface ProvidedContext {
    lacking: Lacking
  }
  interface TaskMeta {
    /** What is lacking here of what the test needs: why it is left out. */
    lacks?: Need[]
  }
}

/**
 * Options of a test or a group that needs more than Node and npm: `test('…', needing('curl'), …)`. Where something
 * of it is lacking, the test is skipped, and the run's last lines name it with what helps and the command that
 * runs it (left-out.ts). There is no other way to skip a test.
 */
export function needing(...needs: Need[]): { skip: boolean; meta: { lacks?: Need[] } } {
  const lacks = needs.filter((need) => isLacking(need))
  return { skip: lacks.length > 0, meta: lacks.length > 0 ? { lacks } : {} }
}

/** For what goes two ways: whether this machine lacks it. */
export function isLacking(need: Need): boolean {
  return inject('lacking')[need] !== undefined
}

type Run = (context: TestContext) => unknown
const register: (title: string, options: TestOptions, run: Run | undefined) => void = test

/** `test` for a file in which every test needs the same; what `beforeAll` starts is then not started either. */
export function testNeeding(...needs: Need[]) {
  const options = needing(...needs)
  return (title: string, first: Run | TestOptions, second?: Run | number): void => {
    const own = typeof first === 'function' ? {} : first
    const timeout = typeof second === 'number' ? { timeout: second } : {}
    register(title, { ...own, ...timeout, ...options }, [first, second].find(isRun))
  }
}

function isRun(value: unknown): value is Run {
  return typeof value === 'function'
}
