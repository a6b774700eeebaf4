/** What a connection to an upstream is held to, whichever version of HTTP it speaks. */

/** More interim answers than any server has a reason to send. */
export const maxInterim = 16

/** Shorter than the 5 s after which most servers close an idle connection, so that none is reused as it dies. */
export const idleMs = 4_000

/** How long an upstream that agreed on HTTP/2 may keep silent: its SETTINGS are the first that it says. */
export const settingsMs = 10_000

/** How long an upstream may take to close its end of a connection by HTTP/2 on which nothing is under way any more. */
export const farewellMs = 2_000
