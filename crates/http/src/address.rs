//! Which addresses belong to the public Internet, and which may not be asked whoever allows it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where a cloud tells a machine its secrets, by an address that is not link-local: Azure's wire server and
/// Alibaba's metadata.
const METADATA_V4: [Ipv4Addr; 2] = [
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(100, 100, 100, 200),
];
/// The same on IPv6, at AWS.
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254);

/// Whether the address is a neighbour of nobody: global unicast, outside of every special-purpose block.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    !is_never(address)
        && match address {
            IpAddr::V4(address) => is_public_v4(address),
            IpAddr::V6(address) => is_public_v6(address),
        }
}

/// Whether the address is nobody's service: link-local, where clouds keep their metadata, the metadata
/// addresses elsewhere, multicast, broadcast, and "this host". No permission covers these.
#[must_use]
pub fn is_never(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_never_v4(address),
        IpAddr::V6(address) => match inside(address) {
            Some(v4) => is_never_v4(v4),
            None => {
                address == METADATA_V6
                    || address.is_unspecified()
                    || address.is_multicast()
                    || address.is_unicast_link_local()
            }
        },
    }
}

fn is_never_v4(address: Ipv4Addr) -> bool {
    address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
        || address.octets()[0] == 0
        || METADATA_V4.contains(&address)
}

/// The IPv4 address that an IPv6 address stands for: mapped, NAT64 or 6to4.
fn inside(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d] = match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            [high >> 8, high & 0xff, low >> 8, low & 0xff]
        }
        [0x2002, high, low, ..] => [high >> 8, high & 0xff, low >> 8, low & 0xff],
        _ => return None,
    };
    let byte = |part: u16| u8::try_from(part).unwrap_or(u8::MAX);
    Some(Ipv4Addr::new(byte(a), byte(b), byte(c), byte(d)))
}

/// Everything but the special-purpose blocks of RFC 6890.
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = matches!(
        (a, b, c),
        (0 | 10 | 127 | 224.., ..)
            | (100, 64..128, _)
            | (169, 254, _)
            | (172, 16..32, _)
            | (192, 0, 0 | 2)
            | (192, 88, 99)
            | (192, 168, _)
            | (198, 18 | 19, _)
            | (198, 51, 100)
            | (203, 0, 113)
    );
    !special
}

/// Global unicast, without the blocks that stand for an IPv4 address or for nobody: Teredo and its
/// neighbours, documentation, 6to4.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    let global = first & 0xe000 == 0x2000;
    let special = match first {
        0x2001 => second == 0x0db8 || second < 0x0200,
        0x2002 => true,
        0x3fff => second < 0x1000,
        _ => false,
    };
    global && !special
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `ssrf-address`: each block, at its first and last address where it has neighbours outside.
    #[test]
    fn no_special_block_counts_as_public() {
        for inside in [
            "0.0.0.0",
            "0.255.255.255",
            "10.0.0.0",
            "10.255.255.255",
            "100.64.0.0",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "168.63.129.16",
            "169.254.169.254",
            "169.254.170.2",
            "172.16.0.0",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.255.255",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.7",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:93.184.215.14",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::10.0.0.1",
            "100::1",
            "2001::1",
            "2001:1ff::1",
            "2001:db8::1",
            "2002:a00:1::",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fdaa:0:1::3",
            "fe80::1",
            "febf::1",
            "ff02::1",
        ] {
            let address: IpAddr = inside.parse().unwrap();
            assert!(!is_public(address), "{inside}");
        }
    }

    #[test]
    fn the_neighbours_of_each_block_are_public() {
        for outside in [
            "1.0.0.0",
            "9.255.255.255",
            "11.0.0.0",
            "93.184.215.14",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.1",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2001:200::1",
            "2001:4860:4860::8888",
            "2606:2800:21f::1",
            "3ffe::1",
        ] {
            let address: IpAddr = outside.parse().unwrap();
            assert!(is_public(address), "{outside}");
        }
    }

    #[test]
    fn metadata_is_nobodys_service_however_it_is_wrapped_and_loopback_can_be_allowed() {
        for never in [
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::",
            "168.63.129.16",
            "100.100.100.200",
            "fd00:ec2::254",
            "fe80::1",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "255.255.255.255",
        ] {
            let address: IpAddr = never.parse().unwrap();
            assert!(is_never(address), "{never}");
        }
        for sometimes in ["127.0.0.1", "::1", "10.0.0.1", "fdaa::1", "93.184.215.14"] {
            let address: IpAddr = sometimes.parse().unwrap();
            assert!(!is_never(address), "{sometimes}");
        }
    }
}
