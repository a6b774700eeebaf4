/** `encodeURIComponent`, WHATWG's component set, Perl's URI::Escape. */
const component = /[^A-Za-z0-9_.!~*'()-]/g

/** What each of the usual encoders escapes of Latin-1, by what it leaves as it is. */
const escapes: readonly RegExp[] = [
  component,
  // RFC 3986: PHP's rawurlencode, Python's quote with nothing safe, AWS.
  /[^A-Za-z0-9_.~-]/g,
  // Forms: WHATWG, Java's URLEncoder.
  /[^A-Za-z0-9_.*-]/g,
  // encodeURI; whatever may stand in some address.
  /[^A-Za-z0-9!#$&'()*+,./:;=?@_~-]/g,
  /[^A-Za-z0-9!#$&'()*+,./:;=?@[\]_~-]/g,
  // Everything.
  /[^]/g,
  // Everything but letters and digits: Rust's NON_ALPHANUMERIC.
  /[^A-Za-z0-9]/g,
  // Python's quote as it comes.
  /[^A-Za-z0-9_.~/-]/g,
  // Go: PathEscape, a URL's path.
  /[^A-Za-z0-9_.~$&+:=@-]/g,
  /[^A-Za-z0-9_.~$&+,/:;=@-]/g,
  // Django's escape_uri_path, JavaScript's escape.
  /[^A-Za-z0-9/:@&+$,_.!~*'()-]/g,
  /[^A-Za-z0-9@*_+./-]/g,
  // User and password in an address: WHATWG, Go.
  /[^A-Za-z0-9!$%&'()*+,_.~-]/g,
  /[^A-Za-z0-9_.~$&+,;=-]/g,
]

/**
 * Bytes, one character each, as they are percent-encoded and form-encoded; each of these once, twice, and as an
 * address inside another, whose encoder may be another one. A form without anything to escape is left out.
 */
export function* percentForms(octets: string): Generator<string> {
  for (const escape of escapes) {
    for (const upper of [true, false]) {
      const encoded = percent(octets, escape, upper)
      if (encoded === octets) break
      for (const once of new Set([encoded, encoded.replaceAll('%20', '+')])) {
        yield once
        yield once.replaceAll('%', '%25')
        yield percent(once, component, upper)
      }
    }
  }
}

/** As `encodeURIComponent` writes bytes. */
export function inComponent(octets: string): string {
  return percent(octets, component, true)
}

function percent(octets: string, escape: RegExp, upper: boolean): string {
  return octets.replace(escape, (char) => {
    const hex = char.charCodeAt(0).toString(16).padStart(2, '0')
    return `%${upper ? hex.toUpperCase() : hex}`
  })
}
