//! Which TLS implementation this process uses. There is one: ring, chosen here and nowhere else.

/// Chooses ring for the process. Whoever builds an HTTP client calls it first: without a choice the client
/// cannot be built, even for plain addresses.
pub fn choose() {
    // Fails only where the process has chosen already, which serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
