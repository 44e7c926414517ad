//! How far a request may go: an address that somebody else chose must not lead into our own network.

use std::{fmt, net::IpAddr, str::FromStr, sync::Arc};

use nightshift_controls::{Control, holds};
use reqwest::Url;

use crate::address::{is_never, is_public};

/// How far a request may go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Reach {
    /// Over TLS to addresses of the public Internet.
    #[default]
    Public,
    /// As [`Reach::Public`], and to these places wherever they are, over plain HTTP as well: the
    /// operator named each one.
    Also(Arc<[Place]>),
    /// Everywhere but where clouds keep their metadata, over plain HTTP as well: for one machine, where
    /// the receiver is a neighbour.
    Anywhere,
}

/// One host and port that an operator allows by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    host: String,
    port: u16,
}

/// The text names no reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected `public`, `anywhere`, or HOST:PORT separated by commas")]
pub struct UnknownReach;

/// Whether an address may be connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admitted {
    OnlyPublic,
    AllButNever,
}

impl Place {
    /// The place that a URL leads to; `None` where it names no host or port.
    #[must_use]
    pub fn of(url: &Url) -> Option<Self> {
        Some(Self {
            host: plain(url.host_str()?),
            port: url.port_or_known_default()?,
        })
    }
}

impl FromStr for Place {
    type Err = UnknownReach;

    fn from_str(text: &str) -> Result<Self, UnknownReach> {
        // A URL's parser reads hosts as the client will: case, brackets, odd forms of addresses.
        let url = Url::parse(&format!("http://{text}/")).map_err(|_| UnknownReach)?;
        let whole = url.path() == "/"
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        // Port 80 is `None` to the parser, and a place without a port is none.
        let port = text
            .rsplit_once(':')
            .and_then(|(_, port)| port.parse().ok());
        match (whole, url.host_str(), port) {
            (true, Some(host), Some(port)) => Ok(Self {
                host: plain(host),
                port,
            }),
            _ => Err(UnknownReach),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for Reach {
    type Err = UnknownReach;

    fn from_str(text: &str) -> Result<Self, UnknownReach> {
        match text {
            "public" => Ok(Self::Public),
            "anywhere" => Ok(Self::Anywhere),
            places => {
                let places: Vec<Place> = places
                    .split(',')
                    .map(|place| place.trim().parse())
                    .collect::<Result<_, _>>()?;
                Ok(Self::Also(places.into()))
            }
        }
    }
}

impl Reach {
    /// The public Internet, and the place that this URL of the operator's own leads to.
    #[must_use]
    pub fn to(url: &Url) -> Self {
        match Place::of(url) {
            Some(place) => Self::Also([place].into()),
            None => Self::Public,
        }
    }

    /// Whether `url` lies within, as far as its text tells. What its name resolves to is checked when it
    /// is resolved, so that nobody can change it in between.
    ///
    /// Control: `ssrf-address`.
    pub fn check(&self, url: &Url) -> Result<(), &'static str> {
        let host = plain(url.host_str().ok_or("it has no host")?);
        if !holds(Control::SsrfAddress) {
            return Ok(());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("it holds a user name or a password");
        }
        if !matches!(url.scheme(), "http" | "https") {
            return Err("its scheme is not https");
        }
        let admitted = match self {
            Self::Anywhere => Admitted::AllButNever,
            Self::Public => Admitted::OnlyPublic,
            Self::Also(places) => {
                let port = url.port_or_known_default();
                if places
                    .iter()
                    .any(|place| place.host == host && Some(place.port) == port)
                {
                    Admitted::AllButNever
                } else if places.iter().any(|place| place.host == host) {
                    // A neighbour is named with the port that may be asked, and with no other.
                    return Err("its host is allowed at another port");
                } else {
                    Admitted::OnlyPublic
                }
            }
        };
        if admitted == Admitted::OnlyPublic && url.scheme() != "https" {
            return Err("its scheme is not https");
        }
        match host.parse::<IpAddr>() {
            Ok(address) if !admitted.admits(address) => Err("its address is not public"),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// What a name may lead to. The URL was checked before, so its port is one that goes with the name.
    pub(crate) fn of_name(&self, name: &str) -> Admitted {
        let name = plain(name);
        match self {
            Self::Anywhere => Admitted::AllButNever,
            Self::Also(places) if places.iter().any(|place| place.host == name) => {
                Admitted::AllButNever
            }
            Self::Public | Self::Also(_) => Admitted::OnlyPublic,
        }
    }
}

impl Admitted {
    pub(crate) fn admits(self, address: IpAddr) -> bool {
        match self {
            Self::OnlyPublic => is_public(address),
            Self::AllButNever => !is_never(address),
        }
    }
}

/// A host without brackets and without the dot of the root, in lower case: the form in which names are compared.
#[must_use]
pub fn plain(host: &str) -> String {
    host.trim_start_matches('[')
        .trim_end_matches(']')
        .trim_end_matches('.')
        .to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    /// `ssrf-address`.
    #[test]
    fn an_address_inside_is_refused_however_it_is_written() {
        for inside in [
            "https://127.0.0.1/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://0177.0.0.1/",
            "https://127.1/",
            "https://%31%32%37.0.0.1/",
            "https://127.0.0.1./",
            "https://10.0.0.1/",
            "https://169.254.169.254/latest/meta-data",
            "https://169.254.170.2/v2/credentials",
            "https://2852039166/",
            "https://100.64.0.1/",
            "https://100.100.100.200/",
            "https://168.63.129.16/machine",
            "https://172.31.255.255/",
            "https://192.168.1.1/",
            "https://0.0.0.0/",
            "https://255.255.255.255/",
            "https://224.0.0.1/",
            "https://[::]/",
            "https://[::1]/",
            "https://[::ffff:10.0.0.1]/",
            "https://[::ffff:7f00:1]/",
            "https://[::127.0.0.1]/",
            "https://[fd00::1]/",
            "https://[fd00:ec2::254]/",
            "https://[fdaa:0:1::3]/",
            "https://[fe80::1]/",
            "https://[64:ff9b::a00:1]/",
            "https://[2002:a00:1::]/",
            "https://[2001::1]/",
            "https://[ff02::1]/",
        ] {
            assert_eq!(
                Reach::Public.check(&url(inside)),
                Err("its address is not public"),
                "{inside}"
            );
        }
    }

    #[test]
    fn an_address_outside_is_admitted_over_tls_and_without_a_password() {
        for outside in [
            "https://hooks.example.com/a?b=c",
            "https://93.184.215.14:8443/",
            "https://172.32.0.1/",
            "https://[2606:2800:21f::1]/",
        ] {
            assert_eq!(Reach::Public.check(&url(outside)), Ok(()), "{outside}");
        }
        for refused in [
            "http://hooks.example.com/",
            "https://user:pass@hooks.example.com/",
            "https://user@hooks.example.com/",
            "ftp://hooks.example.com/",
        ] {
            assert!(Reach::Public.check(&url(refused)).is_err(), "{refused}");
        }
        assert_eq!(Reach::Anywhere.check(&url("http://127.0.0.1:1/")), Ok(()));
        assert!(Reach::Anywhere.check(&url("file:///etc/passwd")).is_err());
    }

    #[test]
    fn an_allowed_place_opens_itself_and_nothing_beside_it() {
        let reach: Reach = "127.0.0.1:9090, Prometheus.internal:9090,[::1]:80"
            .parse()
            .unwrap();
        for within in [
            "http://127.0.0.1:9090/api",
            "http://prometheus.internal.:9090/",
            "https://PROMETHEUS.internal:9090/",
            "http://[::1]/",
            "https://api.example.com/",
        ] {
            assert_eq!(reach.check(&url(within)), Ok(()), "{within}");
        }
        for beside in [
            "http://127.0.0.1:9091/",
            "https://127.0.0.1/",
            "http://127.0.0.2:9090/",
            "https://prometheus.internal/",
            "http://api.example.com:9090/",
            "http://10.0.0.1:9090/",
        ] {
            assert!(reach.check(&url(beside)).is_err(), "{beside}");
        }
    }

    #[test]
    fn no_permission_covers_metadata() {
        for reach in [
            Reach::Anywhere,
            "169.254.169.254:80,[fd00:ec2::254]:80".parse().unwrap(),
        ] {
            for never in ["http://169.254.169.254/", "http://[fd00:ec2::254]/"] {
                assert!(reach.check(&url(never)).is_err(), "{reach:?} {never}");
            }
        }
    }

    #[test]
    fn a_reach_is_read_or_refused_whole() {
        assert_eq!("public".parse(), Ok(Reach::Public));
        assert_eq!("anywhere".parse(), Ok(Reach::Anywhere));
        for wrong in [
            "",
            "everywhere",
            "host",
            "a:1,b",
            "a:1/path",
            "u@a:1",
            "a:70000",
        ] {
            assert_eq!(wrong.parse::<Reach>(), Err(UnknownReach), "{wrong}");
        }
    }
}
