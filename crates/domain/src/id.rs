//! Typed identifiers: one newtype per entity, so the compiler refuses a mix-up.
//!
//! Every identifier reads the same in logs, JSON and URLs: `inv_0192f0c1…`.

use std::{cell::Cell, fmt, str::FromStr};

use serde_with::{DeserializeFromStr, SerializeDisplay};
use uuid::{Builder, Uuid};

/// The text is not an identifier of the expected kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an identifier like `{prefix}_…`, got `{text}`")]
pub struct ParseIdError {
    prefix: &'static str,
    text: String,
}

thread_local! {
    /// The last number of [`count_from`], on threads that asked for it.
    static COUNTED: Cell<Option<u64>> = const { Cell::new(None) };
}

/// From here on the identifiers that this thread mints are counted from `first` instead of drawn, so that
/// a test that is repeated meets the same ones. `None` draws again.
pub fn count_from(first: Option<u64>) {
    COUNTED.set(first);
}

fn mint() -> Uuid {
    let Some(number) = COUNTED.get() else {
        return Uuid::now_v7();
    };
    COUNTED.set(Some(number + 1));
    // The count stands where the time would; the rest depends on it, as spread as if it were drawn.
    let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
    let mut random = [0; 10];
    random[2..].copy_from_slice(&spread);
    Builder::from_unix_timestamp_millis(number, &random).into_uuid()
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident = $prefix:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[derive(SerializeDisplay, DeserializeFromStr)]
        pub struct $name(Uuid);

        impl $name {
            /// Mints a new identifier; later identifiers sort after earlier ones.
            #[must_use]
            pub fn generate() -> Self {
                Self(mint())
            }

            /// The bare value, for the store.
            #[must_use]
            pub const fn as_uuid(self) -> Uuid {
                self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "_{}"), self.0.simple())
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.strip_prefix(concat!($prefix, "_"))
                    .and_then(|uuid| uuid.parse().ok())
                    .map(Self)
                    .ok_or_else(|| ParseIdError { prefix: $prefix, text: text.to_owned() })
            }
        }

        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string",
                    "pattern": concat!("^", $prefix, "_[0-9a-f]{32}$"),
                })
            }
        }
    };
}

id!(
    /// One customer. Nothing of one tenant is ever reachable by another.
    TenantId = "ten"
);
id!(
    /// One webhook address of one tenant.
    EndpointId = "end"
);
id!(
    /// One webhook delivery that was authentic.
    DeliveryId = "dlv"
);
id!(
    /// One signal that fired.
    AlertId = "alt"
);
id!(
    /// Alerts that belong together.
    IncidentId = "inc"
);
id!(
    /// One investigation: our unit of work.
    InvestigationId = "inv"
);
id!(
    /// One machine with its volume and network, for one investigation.
    SandboxId = "sbx"
);
id!(
    /// Interchangeable sandboxes: one image, one region.
    PoolId = "pool"
);
id!(
    /// One recorded tool result.
    EvidenceId = "evd"
);
id!(
    /// One message between a person and an agent.
    MessageId = "msg"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counted_identifiers_are_the_same_again_and_in_order() {
        let three = || {
            count_from(Some(7));
            [(); 3].map(|()| InvestigationId::generate())
        };
        let ids = three();
        assert_eq!(ids, three());
        assert!(ids.is_sorted() && ids[0] != ids[1]);
        count_from(None);
        assert_ne!(InvestigationId::generate(), InvestigationId::generate());
    }

    #[test]
    fn text_round_trips_and_kinds_do_not_mix() {
        let id = InvestigationId::generate();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!(id.to_string().parse::<SandboxId>().is_err());
    }
}
