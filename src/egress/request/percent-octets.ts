/**
 * The text with each percent escape as the one character of its octet, so that what is no UTF-8 survives; what is no
 * escape stands as it is.
 */
export function percentOctets(text: string): string {
  return text.replace(/%([0-9A-Fa-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
}
