//! `read_commit`: one commit with its diff.

use chrono::{DateTime, Utc};
use nightshift_protocol::tools::codebase::{Commit, FileChange, ReadCommitArgs};

use crate::{
    backend::Backend,
    question::{Answered, Unanswerable},
};

/// The fewest digits that name a commit.
const FEWEST_DIGITS: usize = 7;

/// Bytes of one file's patch that are shown.
const PATCH_BYTES: usize = 16 * 1024;

/// Bytes of all patches that are shown; an answer has 64 KiB.
const ALL_PATCHES_BYTES: usize = 40 * 1024;

/// Characters of the message that are shown.
const MESSAGE_CHARS: usize = 4000;

/// Answers `read_commit`.
pub async fn answer(
    backend: &dyn Backend,
    fired_at: DateTime<Utc>,
    args: &ReadCommitArgs,
) -> Result<Answered<Commit>, Unanswerable> {
    let prefix = args.commit.trim().to_ascii_lowercase();
    if prefix.len() < FEWEST_DIGITS || !prefix.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Unanswerable::NotAHash(
            args.commit.chars().take(80).collect(),
        ));
    }
    let mut found = backend.commits(&prefix, fired_at).await?;
    match found.pop() {
        None => Err(Unanswerable::UnknownCommit(
            prefix.chars().take(80).collect(),
        )),
        Some(commit) if found.is_empty() => Ok(bounded(commit)),
        Some(commit) => {
            found.push(commit);
            let candidates = found
                .into_iter()
                .take(10)
                .map(|commit| commit.commit)
                .collect();
            Err(Unanswerable::AmbiguousCommit { prefix, candidates })
        }
    }
}

/// Cuts patches at the end of a line. Files whose patch finds no room keep their path, so that
/// the reader knows that they were touched.
fn bounded(mut commit: Commit) -> Answered<Commit> {
    let mut room = ALL_PATCHES_BYTES;
    let mut truncated = false;
    for FileChange { patch, .. } in &mut commit.files {
        let most = PATCH_BYTES.min(room);
        if patch.len() > most {
            let end = patch.floor_char_boundary(most);
            patch.truncate(patch[..end].rfind('\n').map_or(0, |line_end| line_end + 1));
            truncated = true;
        }
        room -= patch.len();
    }
    if commit.message.chars().count() > MESSAGE_CHARS {
        commit.message = commit.message.chars().take(MESSAGE_CHARS).collect();
        truncated = true;
    }
    Answered {
        answer: commit,
        truncated,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(patches: &[usize]) -> Commit {
        Commit {
            commit: "0123456789".into(),
            author: "a".into(),
            at: DateTime::UNIX_EPOCH,
            message: "m".into(),
            files: patches
                .iter()
                .map(|lines| FileChange {
                    path: "p".into(),
                    patch: "+ nine c\n".repeat(*lines),
                })
                .collect(),
        }
    }

    #[test]
    fn a_long_patch_ends_with_a_whole_line_and_the_cut_is_said() {
        let bounded = bounded(commit(&[10, 5000]));
        assert!(bounded.truncated);
        let [short, long] = &bounded.answer.files[..] else {
            panic!("two files")
        };
        assert_eq!(short.patch.len(), 90);
        assert!(long.patch.len() <= PATCH_BYTES && long.patch.len() > PATCH_BYTES - 10);
        assert!(long.patch.ends_with("nine c\n"));
    }

    #[test]
    fn many_patches_together_stay_in_bounds_and_every_path_stays() {
        let bounded = bounded(commit(&[1500; 8]));
        assert!(bounded.truncated);
        assert_eq!(bounded.answer.files.len(), 8);
        let all: usize = bounded
            .answer
            .files
            .iter()
            .map(|file| file.patch.len())
            .sum();
        assert!(all <= ALL_PATCHES_BYTES);
    }

    #[test]
    fn a_short_commit_is_not_touched() {
        let bounded = bounded(commit(&[10]));
        assert!(!bounded.truncated);
        assert_eq!(bounded.answer, commit(&[10]));
    }
}
