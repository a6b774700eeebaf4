import { der, derOid } from '../core/index.ts'

const data = derOid('1.2.840.113549.1.7.1')
const certificateBag = derOid('1.2.840.113549.1.12.10.1.3')
const x509Certificate = derOid('1.2.840.113549.1.9.22.1')
const friendlyName = derOid('1.2.840.113549.1.9.20')
/** What makes Java take a certificate for a trusted one, whatever its use. */
const trustedKeyUsage = derOid('2.16.840.1.113894.746875.1.1')
const anyUsage = derOid('2.5.29.37.0')

/**
 * A PKCS #12 file (RFC 7292) of trusted certificates, given in DER, as Java reads one without a password: nothing
 * in it is secret, so nothing is encrypted.
 */
export function trustStore(certificates: readonly Uint8Array[]): Buffer {
  const bags = certificates.map((certificate, at) =>
    der(
      0x30,
      certificateBag,
      der(0xa0, der(0x30, x509Certificate, der(0xa0, der(0x04, certificate)))),
      der(
        0x31,
        attribute(friendlyName, der(0x1e, Buffer.from(`ca${at}`, 'utf16le').swap16())),
        attribute(trustedKeyUsage, anyUsage),
      ),
    ),
  )
  const safe = der(0x30, content(der(0x30, ...bags)))
  return der(0x30, der(0x02, [3]), content(safe))
}

function content(inner: Buffer): Buffer {
  return der(0x30, data, der(0xa0, der(0x04, inner)))
}

function attribute(id: Buffer, value: Buffer): Buffer {
  return der(0x30, id, der(0x31, value))
}
