//! Identifiers in the provider's shapes.

use rand::Rng;
use uuid::Uuid;

const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const BASE36: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// A machine's id: 14 hexadecimal digits.
pub(crate) fn machine() -> String {
    format!("{:014x}", rand::rng().random::<u64>() >> 8)
}

/// A volume's id: `vol_` and 16 letters and digits.
pub(crate) fn volume() -> String {
    format!("vol_{}", word(16))
}

/// An app's id.
pub(crate) fn app() -> String {
    word(14)
}

/// A network policy's id.
pub(crate) fn policy() -> String {
    word(12)
}

/// A ULID: 26 characters that sort by time. For versions, events and requests.
pub(crate) fn ulid() -> String {
    let mut rest = Uuid::now_v7().as_u128();
    let mut text = [b'0'; 26];
    for place in text.iter_mut().rev() {
        *place = CROCKFORD[(rest & 31) as usize];
        rest >>= 5;
    }
    text.iter().copied().map(char::from).collect()
}

fn word(length: usize) -> String {
    let mut rng = rand::rng();
    (0..length)
        .map(|_| char::from(BASE36[rng.random_range(0..BASE36.len())]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_the_providers_shapes_and_ulids_sort_by_time() {
        assert_eq!((machine().len(), volume().len()), (14, 20));
        let (first, second) = (ulid(), ulid());
        assert_eq!(first.len(), 26);
        assert!(first < second, "{first} {second}");
    }
}
