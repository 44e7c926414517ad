//! System calls: an allow list, so that what a later kernel or another ABI adds is refused too, and on top
//! of it honest answers for what programs try.

use std::collections::BTreeMap;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen::Dword, SeccompCmpOp,
    SeccompCondition, SeccompFilter, SeccompRule, TargetArch, apply_filter,
};

use super::syscalls::{ALLOWED, ALLOWED_HERE, FORBIDDEN};

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Namespaces that `clone` could make. `clone3` hides its flags from filters and does not exist here; the C
/// library then falls back to `clone`.
const NEW_NAMESPACES: [libc::c_int; 7] = [
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWUTS,
];
/// Typing into a terminal's input for whoever reads it.
const TYPE_INTO_TERMINAL: [u64; 2] = [0x5412, 0x541c];

/// The filters could not be made or installed.
#[derive(Debug, thiserror::Error)]
pub enum SeccompError {
    /// There is no filter for this processor.
    #[error("no filter can be made for this processor")]
    Unsupported(#[source] BackendError),
    /// The kernel refused.
    #[error("the kernel takes no filter")]
    Refused(#[source] seccompiler::Error),
}

/// Confines the calling thread and all that it becomes or starts. Also sets `no_new_privs`.
///
/// # Errors
/// See [`SeccompError`].
pub fn enter() -> Result<(), SeccompError> {
    for program in programs().map_err(SeccompError::Unsupported)? {
        apply_filter(&program).map_err(SeccompError::Refused)?;
    }
    Ok(())
}

/// All of them count, and the strictest answer wins. The allow list comes last, because after it no filter can
/// be installed; it knows the calls that others refuse, so that programs hear those others' answers.
fn programs() -> Result<Vec<BpfProgram>, BackendError> {
    let elsewhere = || when(0, SeccompCmpOp::Ne, libc::AF_UNIX.unsigned_abs().into());
    let sockets = Rules::from([
        (libc::SYS_socket, vec![elsewhere()?]),
        (libc::SYS_socketpair, vec![elsewhere()?]),
    ]);
    // One call would take any amount of disk before anybody can count it. Programs then write zeros.
    let allocations = Rules::from([(libc::SYS_fallocate, Vec::new())]);
    let known = [ALLOWED, ALLOWED_HERE, FORBIDDEN, &[libc::SYS_fallocate]].concat();
    let known: Rules = known
        .into_iter()
        .map(|number| (number, Vec::new()))
        .collect();
    Ok(vec![
        filter(sockets, refuse(libc::EAFNOSUPPORT), SeccompAction::Allow)?,
        filter(allocations, refuse(libc::EOPNOTSUPP), SeccompAction::Allow)?,
        filter(forbidden()?, refuse(libc::EPERM), SeccompAction::Allow)?,
        filter(known, SeccompAction::Allow, refuse(libc::ENOSYS))?,
    ])
}

fn forbidden() -> Result<Rules, BackendError> {
    let mut rules: Rules = FORBIDDEN
        .iter()
        .map(|number| (*number, Vec::new()))
        .collect();
    let mut clones = Vec::new();
    for flag in NEW_NAMESPACES {
        let flag = u64::from(flag.cast_unsigned());
        clones.push(when(0, SeccompCmpOp::MaskedEq(flag), flag)?);
    }
    rules.insert(libc::SYS_clone, clones);
    let terminals = TYPE_INTO_TERMINAL.map(|request| when(1, SeccompCmpOp::Eq, request));
    rules.insert(
        libc::SYS_ioctl,
        terminals.into_iter().collect::<Result<_, _>>()?,
    );
    Ok(rules)
}

/// Where the kernel reads only the lower half of an argument, so does the filter.
fn when(argument: u8, is: SeccompCmpOp, value: u64) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(argument, Dword, is, value)?])
}

fn refuse(errno: libc::c_int) -> SeccompAction {
    SeccompAction::Errno(errno.unsigned_abs())
}

fn filter(
    rules: Rules,
    matched: SeccompAction,
    otherwise: SeccompAction,
) -> Result<BpfProgram, BackendError> {
    let here: TargetArch = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(rules, otherwise, matched, here)?.try_into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_call_is_allowed_and_forbidden() {
        for number in ALLOWED.iter().chain(ALLOWED_HERE) {
            assert!(!FORBIDDEN.contains(number), "{number}");
        }
    }

    #[test]
    fn the_filters_exist_for_both_processors() {
        for processor in ["x86_64", "aarch64"] {
            let target: TargetArch = processor.try_into().unwrap();
            let rules = forbidden().unwrap();
            let filter =
                SeccompFilter::new(rules, SeccompAction::Allow, refuse(libc::EPERM), target);
            assert!(!BpfProgram::try_from(filter.unwrap()).unwrap().is_empty());
        }
    }
}
