//! Sandboxes: what bubblewrap is told, which host users stand behind one, and how it boots.

mod boot;
mod entry;
mod launch;
mod layout;
mod live;
mod process;
mod scrub;
mod spawner;
mod uids;

pub(crate) use boot::{BootError, boot, guest_of, platform_env, unpacked};
pub(crate) use entry::by_name as signal_by_name;
pub(crate) use live::{Booted, Init, Live};
pub(crate) use process::{GO_FD, Inside, enclose};
pub(crate) use scrub::scrub;
pub(crate) use spawner::Spawner;
pub(crate) use uids::UidPolicy;

/// Where bubblewrap is looked for; it is started with an empty environment, so without a `PATH`.
const BWRAP: [&str; 3] = ["/usr/bin/bwrap", "/usr/local/bin/bwrap", "/bin/bwrap"];

/// The bubblewrap to use.
pub(crate) fn bwrap() -> Option<&'static str> {
    BWRAP
        .into_iter()
        .find(|path| std::path::Path::new(path).exists())
}
