import { mintInputs } from './minted.ts'
import { storedNames } from './stored-names.ts'
import type { Source } from './types.ts'

/**
 * What the credential `name` is made from, if enabled sources know it as a minted one and none as a stored one;
 * undefined for any other name.
 */
export function mintedOnly(
  sources: readonly Pick<Source, 'spec' | 'enabled'>[],
  name: string,
): string[] | undefined {
  const specs = sources.filter(({ enabled }) => enabled).map(({ spec }) => spec)
  if (specs.some((spec) => storedNames(spec).includes(name))) return undefined
  const inputs = specs.flatMap(({ minted }) => {
    const spec = Object.hasOwn(minted, name) ? minted[name] : undefined
    return spec === undefined ? [] : mintInputs(spec)
  })
  return inputs.length === 0 ? undefined : [...new Set(inputs)]
}
