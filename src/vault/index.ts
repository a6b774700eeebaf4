/**
 * vault: credentials at rest. The gateway seals a value to the egress proxy's public key, bound to its row (key,
 * name, scope), and cannot read it back; only the holder of the private key opens it. It says which credential
 * applies to whom, and never where on the wire it goes. Nothing here logs, returns or records a value.
 */
export { chooseCredential, openCredential } from './choose.ts'
export { fillPlaceholders, placeholderFor } from './placeholder.ts'
export {
  generateSealingKey,
  importOpeningKey,
  type OpeningKey,
  open,
  sealingKeyId,
  sealTo,
} from './seal.ts'
export { type CredentialTarget, createVault, type Vault } from './vault.ts'
