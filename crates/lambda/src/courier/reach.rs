//! How far a report may travel: an address that a tenant chose must not lead into our own network.

use std::{
    error::Error,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use reqwest::{
    Url,
    dns::{Addrs, Name, Resolve, Resolving},
};

/// How far a report may travel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reach {
    /// Over TLS to addresses of the public Internet.
    #[default]
    Public,
    /// Everywhere, over plain HTTP as well: for one machine, where the receiver is a neighbour.
    Anywhere,
}

/// The text names no reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected `public` or `anywhere`")]
pub struct UnknownReach;

impl FromStr for Reach {
    type Err = UnknownReach;

    fn from_str(text: &str) -> Result<Self, UnknownReach> {
        match text {
            "public" => Ok(Self::Public),
            "anywhere" => Ok(Self::Anywhere),
            _ => Err(UnknownReach),
        }
    }
}

impl Reach {
    /// Whether `url` lies within, as far as its text tells. What its name resolves to is checked when it
    /// is resolved, so that nobody can change it in between.
    pub(super) fn check(self, url: &Url) -> Result<(), &'static str> {
        let host = url.host_str().ok_or("it has no host")?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err("it holds a user name or a password");
        }
        match (self, url.scheme()) {
            (Self::Anywhere, "http" | "https") => return Ok(()),
            (Self::Public, "https") => {}
            (Self::Public | Self::Anywhere, _) => return Err("its scheme is not https"),
        }
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        match bare.parse::<IpAddr>() {
            Ok(address) if !is_public(address) => Err("its address is not public"),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn admits(self, address: SocketAddr) -> bool {
        match self {
            Self::Public => is_public(address.ip()),
            Self::Anywhere => true,
        }
    }
}

impl Resolve for Reach {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = *self;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let admitted: Vec<SocketAddr> = found.filter(|at| reach.admits(*at)).collect();
            if admitted.is_empty() {
                let error: Box<dyn Error + Send + Sync> =
                    "the name leads to no public address".into();
                return Err(error);
            }
            let addresses: Addrs = Box::new(admitted.into_iter());
            Ok(addresses)
        })
    }
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
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

/// Global unicast, without the blocks that stand for an IPv4 address or for nobody.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    let global = first & 0xe000 == 0x2000;
    let special = match first {
        0x2001 => second == 0x0db8 || second < 0x0200,
        0x2002 => true,
        _ => false,
    };
    global && !special
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_inside_is_refused_however_it_is_written() {
        for inside in [
            "https://127.0.0.1/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://10.0.0.1/",
            "https://169.254.169.254/latest/meta-data",
            "https://100.64.0.1/",
            "https://172.31.255.255/",
            "https://192.168.1.1/",
            "https://0.0.0.0/",
            "https://255.255.255.255/",
            "https://[::1]/",
            "https://[::ffff:10.0.0.1]/",
            "https://[fd00::1]/",
            "https://[fdaa:0:1::3]/",
            "https://[fe80::1]/",
            "https://[64:ff9b::a00:1]/",
            "https://[2002:a00:1::]/",
        ] {
            let url = Url::parse(inside).unwrap();
            assert_eq!(
                Reach::Public.check(&url),
                Err("its address is not public"),
                "{inside}"
            );
        }
    }

    #[test]
    fn an_address_outside_is_admitted_over_tls_and_without_a_password() {
        let check = |url: &str| Reach::Public.check(&Url::parse(url).unwrap());
        for outside in [
            "https://hooks.example.com/a?b=c",
            "https://93.184.215.14:8443/",
            "https://172.32.0.1/",
            "https://[2606:2800:21f::1]/",
        ] {
            assert_eq!(check(outside), Ok(()), "{outside}");
        }
        assert!(check("http://hooks.example.com/").is_err());
        assert!(check("https://user:pass@hooks.example.com/").is_err());
        assert!(check("ftp://hooks.example.com/").is_err());
        let near = Url::parse("http://127.0.0.1:1/").unwrap();
        assert_eq!(Reach::Anywhere.check(&near), Ok(()));
        assert!(
            Reach::Anywhere
                .check(&Url::parse("file:///etc/passwd").unwrap())
                .is_err()
        );
    }

    #[tokio::test]
    async fn a_name_that_leads_inside_is_refused_when_it_is_resolved() {
        let resolved = Reach::Public.resolve("localhost".parse().unwrap()).await;
        assert!(resolved.is_err());
        let resolved = Reach::Anywhere.resolve("localhost".parse().unwrap()).await;
        assert!(resolved.is_ok());
    }
}
