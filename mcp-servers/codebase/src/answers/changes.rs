//! `list_deploys`, `list_flags` and `list_commits`: what changed, newest first.

use chrono::{DateTime, TimeDelta, Utc};
use nightshift_protocol::tools::{
    TimeRange,
    codebase::{CommitSummary, Commits, Deploy, Deploys, FlagChange, FlagChanges, ListChangesArgs},
};

use super::closest;
use crate::{
    backend::History,
    question::{Answered, Unanswerable},
};

/// Before the alert, where nobody says otherwise.
const BEFORE: TimeDelta = TimeDelta::hours(24);

/// Rows in one answer.
const MOST: usize = 100;

/// Characters of a message that are shown in a list.
const MESSAGE_CHARS: usize = 600;

/// Paths of one commit that are shown in a list.
const PATHS: usize = 50;

/// Answers `list_deploys`.
pub fn deploys(
    history: &History,
    fired_at: DateTime<Utc>,
    args: &ListChangesArgs,
) -> Result<Answered<Deploys>, Unanswerable> {
    known_service(history, args)?;
    let within = within(args.range, fired_at)?;
    let mut deploys: Vec<Deploy> = history
        .deploys
        .iter()
        .filter(|deploy| within(deploy.at))
        .filter(|deploy| {
            args.service
                .as_ref()
                .is_none_or(|service| deploy.service == *service)
        })
        .cloned()
        .collect();
    let truncated = cut(&mut deploys);
    Ok(Answered {
        answer: Deploys { deploys },
        truncated,
    })
}

/// Answers `list_flags`. A flag that is for no service in particular is for every one.
pub fn flags(
    history: &History,
    fired_at: DateTime<Utc>,
    args: &ListChangesArgs,
) -> Result<Answered<FlagChanges>, Unanswerable> {
    known_service(history, args)?;
    let within = within(args.range, fired_at)?;
    let concerns = |flag: &FlagChange| match (&args.service, &flag.service) {
        (Some(asked), Some(service)) => asked == service,
        (None, _) | (_, None) => true,
    };
    let mut changes: Vec<FlagChange> = history
        .flags
        .iter()
        .filter(|flag| within(flag.at) && concerns(flag))
        .cloned()
        .collect();
    let truncated = cut(&mut changes);
    Ok(Answered {
        answer: FlagChanges { changes },
        truncated,
    })
}

/// Answers `list_commits`.
pub fn commits(
    history: &History,
    fired_at: DateTime<Utc>,
    args: &ListChangesArgs,
) -> Result<Answered<Commits>, Unanswerable> {
    let within = within(args.range, fired_at)?;
    let mut truncated = false;
    let mut commits: Vec<CommitSummary> = history
        .commits
        .iter()
        .filter(|commit| within(commit.at))
        .filter(|commit| {
            args.path
                .as_ref()
                .is_none_or(|part| commit.files.iter().any(|f| f.path.contains(part)))
        })
        .map(|commit| {
            let message: String = commit.message.chars().take(MESSAGE_CHARS).collect();
            truncated |= message.len() < commit.message.len() || commit.files.len() > PATHS;
            CommitSummary {
                commit: commit.commit.clone(),
                author: commit.author.clone(),
                at: commit.at,
                message,
                paths: commit
                    .files
                    .iter()
                    .take(PATHS)
                    .map(|file| file.path.clone())
                    .collect(),
            }
        })
        .collect();
    truncated |= cut(&mut commits);
    Ok(Answered {
        answer: Commits { commits },
        truncated,
    })
}

fn within(
    range: TimeRange,
    fired_at: DateTime<Utc>,
) -> Result<impl Fn(DateTime<Utc>) -> bool, Unanswerable> {
    let to = range
        .to
        .unwrap_or_else(|| range.from.map_or(fired_at, |from| from.max(fired_at)));
    let from = range.from.unwrap_or_else(|| to.min(fired_at) - BEFORE);
    if from > to {
        return Err(Unanswerable::Backwards { from, to });
    }
    Ok(move |at| from <= at && at <= to)
}

fn known_service(history: &History, args: &ListChangesArgs) -> Result<(), Unanswerable> {
    match &args.service {
        Some(asked) if !history.services.contains(asked) => Err(Unanswerable::Unknown {
            what: "service",
            asked: asked.clone(),
            close: closest(asked, &history.services),
        }),
        Some(_) | None => Ok(()),
    }
}

fn cut<T>(rows: &mut Vec<T>) -> bool {
    let truncated = rows.len() > MOST;
    rows.truncate(MOST);
    truncated
}
