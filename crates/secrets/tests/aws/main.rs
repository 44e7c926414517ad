//! Reading tenants' credentials from AWS, against stand-ins that check what AWS checks, with our own policies
//! deciding: controls `tenant-session` and `tenant-policies`.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod cloud;
mod iam;
mod issuer;
mod policies;
mod reading;
mod signature;
