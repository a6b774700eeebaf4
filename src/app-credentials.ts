import type { AdminDeps, CredentialPlace } from './admin/index.ts'
import { type Catalog, type CatalogKeeper, mintedOnly, storedNames } from './catalog/index.ts'
import { AppError, nearest } from './core/index.ts'
import type { CredentialTarget, Vault } from './vault/index.ts'

/**
 * The vault as the admin API sees it. What a source mints is not stored: under such a name `seal` throws
 * `invalid_input` and says what to set instead, for nobody would ever read the value.
 */
export function adminCredentials(rooms: {
  catalog: Pick<CatalogKeeper, 'latest'>
  vault: Vault
}): AdminDeps['credentials'] {
  const { catalog, vault } = rooms
  return {
    async lookAt(place) {
      const { sources } = await catalog.latest()
      const target = storedPlace(place, sources)
      await vault.checkTarget(target)
      const read = [...sources.values()]
        .filter(({ enabled }) => enabled)
        .map(({ id, spec }) => ({ id, names: storedNames(spec) }))
      const readBy = read.filter(({ names }) => names.includes(place.name)).map(({ id }) => id)
      const names = [...new Set(read.flatMap((source) => source.names))]
      return { readBy, near: readBy.length > 0 ? [] : nearest(place.name, names) }
    },
    async seal(name, scope, scopeId, value, by) {
      const target = storedPlace({ name, scope, scopeId }, (await catalog.latest()).sources)
      await vault.setCredential({ ...target, value, by })
    },
    list: async () => await vault.listCredentials(),
    async remove({ name, scope, scopeId }, by) {
      if (scope === 'profile') return false
      await vault.removeCredential({ name, scope, scopeId, by })
      return true
    },
  }
}

/** The place in the vault, if a value there could be read by anybody. */
function storedPlace(
  { name, scope, scopeId }: CredentialPlace,
  sources: Catalog['sources'],
): CredentialTarget {
  if (scope === 'profile')
    throw new AppError(
      'invalid_input',
      'profiles come later; name a person with "for", or nobody, for everybody',
    )
  const inputs = mintedOnly([...sources.values()], name)
  if (inputs !== undefined)
    throw new AppError(
      'invalid_input',
      `${name} is minted and a stored value would never be read; set what it is made from: ${inputs.join(' and ')}`,
    )
  return { name, scope, scopeId }
}
