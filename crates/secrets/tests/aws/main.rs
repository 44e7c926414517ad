//! Reading tenants' credentials from AWS, against stand-ins that check what AWS checks, with our own policies
//! deciding: controls `tenant-session` and `tenant-policies`.

mod cloud;
mod iam;
mod issuer;
mod policies;
mod reading;
mod signature;
