/**
 * Where clouds tell a machine who it is and hand it credentials, by address in normal spelling. Most lie in ranges
 * that are refused anyway; they stand here so that the record says what was tried, and because no rule may name them.
 */
export const metadataAddresses: ReadonlySet<string> = new Set([
  // AWS, Google, Azure, Oracle, DigitalOcean, Hetzner, OpenStack and others.
  '169.254.169.254',
  // AWS: metadata, container credentials, pod identity, and its name and time servers.
  'fd00:ec2::254',
  '169.254.170.2',
  '169.254.170.23',
  'fd00:ec2::23',
  '169.254.169.253',
  'fd00:ec2::253',
  '169.254.169.123',
  'fd00:ec2::123',
  // Google.
  'fd20:ce::254',
  // Azure's wire server: global unicast to look at.
  '168.63.129.16',
  // Alibaba.
  '100.100.100.200',
  // Oracle: an older one, and by IPv6.
  '192.0.0.192',
  'fd00:c1::a9fe:a9fe',
  // Scaleway.
  '169.254.42.42',
  'fd00:42::42',
  // Tencent.
  '169.254.0.23',
  // OpenStack and Akamai by IPv6.
  'fe80::a9fe:a9fe',
  'fd00:a9fe:a9fe::1',
])
