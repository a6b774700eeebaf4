import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** Whose tests start and stop whole processes: they last longest, and mostly wait. */
const long = /\/test\/(?:system|dev|cli|runners\/local)\//
const between = 4

/**
 * One long file, then some others, as long as there are long ones: those that start processes do so beside few of
 * their kind, others fill the time in which they wait, and none is what a single worker ends with. Vitest goes by
 * size where it knows no durations, as in a new clone, and the smallest of these files is among the longest.
 */
export function ordered<File extends { moduleId: string }>(files: readonly File[]): File[] {
  const isLong = ({ moduleId }: File) => long.test(moduleId)
  const others = files.filter((file) => !isLong(file))
  const mixed = files.filter(isLong).flatMap((file) => [file, ...others.splice(0, between)])
  return [...mixed, ...others]
}

export class FileOrder extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    return ordered(await super.sort(files))
  }
}
