import type { AdminDeps } from './admin/index.ts'
import { type CatalogKeeper, mintedOnly } from './catalog/index.ts'
import { AppError } from './core/index.ts'
import type { Vault } from './vault/index.ts'

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
    async seal(name, scope, scopeId, value, by) {
      if (scope === 'profile')
        throw new AppError(
          'invalid_input',
          'profiles come later; name a person with "for", or nobody, for everybody',
        )
      const inputs = mintedOnly([...(await catalog.latest()).sources.values()], name)
      if (inputs !== undefined)
        throw new AppError(
          'invalid_input',
          `${name} is minted and a stored value would never be read; set what it is made from: ${inputs.join(' and ')}`,
        )
      await vault.setCredential({ name, scope, scopeId, value, by })
    },
    list: async () => await vault.listCredentials(),
    async remove({ name, scope, scopeId }, by) {
      if (scope === 'profile') return false
      await vault.removeCredential({ name, scope, scopeId, by })
      return true
    },
  }
}
