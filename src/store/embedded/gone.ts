/** The guardian ends with this code once its data have been gone for so long; its parent has the words. */
export const goneCode = 3
/** A folder that is moved back, or a file system that comes back, is there sooner. */
export const goneAfterMs = 5_000
