/**
 * catalog: sources and tools. Discovery owns the facts (name, description, schema, available or missing), the
 * operator owns the policy (enabled, accepted); a failed discovery changes nothing, and a definition that
 * changed is not callable until a person accepted it. Aliases are stored, injective and never parsed back.
 */
export { addressRange } from './addresses.ts'

export { aliasFor, reservedAliases } from './alias.ts'
export type { CatalogConfig } from './apply.ts'
export {
  type Binding,
  hopHeaders,
  parseSlot,
  queryKey,
  type Slot,
  searchHazards,
  slotsOverlap,
} from './binding.ts'

export { type CatalogKeeper, createCatalog } from './keeper.ts'
export {
  type MintedSpec,
  type MintedSpecs,
  mintInputs,
  type SignedVariable,
  type SignSpec,
  signInputs,
} from './minted.ts'

export {
  type Catalog,
  type EgressRule,
  egressRule,
  type Source,
  type SourceSpec,
  slug,
  sourceSpec,
  type Tool,
} from './types.ts'
