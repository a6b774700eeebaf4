/**
 * catalog: sources and tools. Discovery owns the facts (name, description, schema, available or missing), the
 * operator owns the policy (enabled, accepted); a failed discovery changes nothing, and a definition that
 * changed is not callable until a person accepted it. Aliases are stored, injective and never parsed back.
 */
export {
  type AddressClass,
  addressClasses,
  anAddress,
  classifyAddress,
  normalAddress,
  parseRanges,
  pinnable,
  type Surroundings,
} from './address-classes.ts'
export { addressRange } from './addresses.ts'

export { aliasFor, reservedAliases } from './alias.ts'
export type { Applied, CatalogConfig } from './apply.ts'
export {
  type Binding,
  hopHeaders,
  parseSlot,
  queryKey,
  type Slot,
  searchHazards,
  slotsOverlap,
} from './binding.ts'

export { type EgressRule, egressRule, rulePort } from './egress-rule.ts'
export { canonicalHost, schemePort } from './hosts.ts'
export { type CatalogKeeper, createCatalog } from './keeper.ts'
export {
  isS3,
  type MintedSpec,
  type MintedSpecs,
  mintInputs,
  mintUrl,
  type SignedVariable,
  type SignSpec,
  signInputs,
} from './minted.ts'
export { mintedOnly } from './minted-only.ts'
export {
  canonicalPath,
  keyPath,
  looseKeyPath,
  type PathRefusal,
  requestPath,
  ruledPath,
  sureKeyPath,
  surePath,
} from './paths.ts'
export type { ToolReview } from './review.ts'
export { sourceProblems } from './source-problems.ts'
export { type SourceSpec, sourceSpec } from './source-spec.ts'
export { storedNames } from './stored-names.ts'

export {
  type Catalog,
  type Source,
  slug,
  type Tool,
} from './types.ts'
