//! The stories: what changes when, which alert watches, and what the answer is.

use serde_json::{Value, json};

use super::{
    history::{Edit, Plan},
    rule::{Rule, Watch},
};
use crate::acmepay::Behaviour;

/// Something that happens, so many seconds after the window began.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// When, in seconds.
    pub at: u64,
    /// What.
    pub action: Action,
}

/// What happens.
#[derive(Debug, Clone, Copy)]
pub enum Action {
    /// Somebody commits.
    Commit(&'static Plan<'static>),
    /// The newest commit is deployed to a service.
    Deploy(&'static str),
    /// Somebody switches a feature flag.
    Flag {
        /// Where.
        service: &'static str,
        /// Which.
        flag: &'static str,
        /// To what.
        on: bool,
        /// Who.
        by: &'static str,
    },
    /// The outside provider changes its behaviour.
    Provider(Behaviour),
}

/// What really causes the alert.
#[derive(Debug, Clone, Copy)]
pub enum Cause {
    /// A commit, by the way of a deploy.
    Commit {
        /// The guilty plan.
        plan: &'static Plan<'static>,
        /// The service it was deployed to.
        service: &'static str,
        /// As a report spells it.
        kind: &'static str,
    },
    /// Nobody's change.
    Provider,
}

/// A story.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// Names the symptom.
    pub name: &'static str,
    /// The symptom in a few words.
    pub title: &'static str,
    /// What happens.
    pub steps: &'static [Step],
    /// What watches.
    pub rule: Rule,
    /// What causes it.
    pub cause: Cause,
    /// Why, for a person who reads the answer.
    pub why: &'static str,
}

impl Scenario {
    /// Seconds from the window's begin to the step that brings the cause.
    #[must_use]
    pub fn onset(&self) -> u64 {
        let guilty = |step: &&Step| match (step.action, self.cause) {
            (Action::Commit(plan), Cause::Commit { plan: guilty, .. }) => {
                plan.message == guilty.message
            }
            (Action::Provider(_), Cause::Provider) => true,
            (
                Action::Commit(_) | Action::Deploy(_) | Action::Flag { .. } | Action::Provider(_),
                _,
            ) => false,
        };
        self.steps.iter().find(guilty).map_or(0, |step| step.at)
    }

    /// The answer, once the guilty commit's hash is known.
    #[must_use]
    pub fn expected(&self, commit: Option<&str>) -> Value {
        let (component, kind, change) = match self.cause {
            Cause::Commit { service, kind, .. } => (
                service,
                kind,
                json!({"type": "commit", "commit": commit, "service": service}),
            ),
            Cause::Provider => (
                "acmepay",
                "external_dependency",
                json!({"type": "no_change"}),
            ),
        };
        json!({"component": component, "kind": kind, "change": change, "why": self.why})
    }
}

/// All stories.
pub const SCENARIOS: [Scenario; 3] = [SLOW_BROWSE, STALLED_CHECKOUT, FAILED_PAYMENTS];

const ONE_LOOKUP: Plan<'static> = Plan {
    author: "Priya Raman",
    message: "catalogue: share the lookup with the product page",
    edits: &[Edit::Source {
        file: "catalogue",
        name: "per_item",
    }],
};

const SAY_WHAT_IS_LEFT: Plan<'static> = Plan {
    author: "Tomasz Wilk",
    message: "reserve: tell how many are left when a line is short",
    edits: &[Edit::Source {
        file: "reserve",
        name: "by_line",
    }],
};

const CACHE_HEADER: Plan<'static> = Plan {
    author: "Ife Okafor",
    message: "pages: send cache-control",
    edits: &[Edit::Source {
        file: "headers",
        name: "cached",
    }],
};

const EUROS: Plan<'static> = Plan {
    author: "Jonas Berg",
    message: "log order totals in euros",
    edits: &[Edit::Source {
        file: "receipt",
        name: "euros",
    }],
};

const STATEMENT: Plan<'static> = Plan {
    author: "Jonas Berg",
    message: "card statement: full order number",
    edits: &[Edit::Source {
        file: "statement",
        name: "long",
    }],
};

const RANKING: Plan<'static> = Plan {
    author: "Mara Lindqvist",
    message: "shelf: start at the third best seller",
    edits: &[Edit::Source {
        file: "ranking",
        name: "rotated",
    }],
};

const LAST_PIECES: Plan<'static> = Plan {
    author: "Tomasz Wilk",
    message: "say 'last pieces' from three down",
    edits: &[Edit::Source {
        file: "shelf",
        name: "three",
    }],
};

const WIKI: Plan<'static> = Plan {
    author: "Mara Lindqvist",
    message: "on-call: link the dashboards",
    edits: &[Edit::Words {
        path: "docs/on-call.md",
        from: "- Telephone list: see the wiki.",
        to: "- Telephone list: see the wiki.\n- Dashboards: one per service, same name.",
    }],
};

const MEMORY: Plan<'static> = Plan {
    author: "Ife Okafor",
    message: "frontend: 192 MB",
    edits: &[Edit::Words {
        path: "deploy/services.toml",
        from: "[frontend]\nreplicas = 1\nmemory_mb = 128",
        to: "[frontend]\nreplicas = 1\nmemory_mb = 192",
    }],
};

const fn step(at: u64, action: Action) -> Step {
    Step { at, action }
}

const SLOW_BROWSE: Scenario = Scenario {
    name: "slow-browse",
    title: "Department pages have become slow",
    steps: &[
        step(70, Action::Commit(&WIKI)),
        step(115, Action::Commit(&CACHE_HEADER)),
        step(150, Action::Deploy("frontend")),
        step(
            240,
            Action::Flag {
                service: "recommendation",
                flag: "long-shelf",
                on: true,
                by: "Mara Lindqvist",
            },
        ),
        step(330, Action::Commit(&RANKING)),
        step(355, Action::Deploy("recommendation")),
        step(465, Action::Commit(&ONE_LOOKUP)),
        step(490, Action::Deploy("inventory")),
        step(505, Action::Commit(&EUROS)),
        step(530, Action::Deploy("checkout")),
    ],
    rule: Rule {
        monitor: "frontend-browse-p95",
        service: "frontend",
        route: "/browse/{category}",
        watch: Watch::P95,
        threshold: 0.2,
    },
    cause: Cause::Commit {
        plan: &ONE_LOOKUP,
        service: "inventory",
        kind: "code_regression",
    },
    why: "The deploy of inventory loads a department's products with one query each instead of one query for all, so each \
          department page waits for some sixty round trips to the database. The deploys of frontend, recommendation and \
          checkout nearby touch neither the query nor the page's work.",
};

const STALLED_CHECKOUT: Scenario = Scenario {
    name: "stalled-checkout",
    title: "Checkouts hang and fail",
    steps: &[
        step(80, Action::Commit(&MEMORY)),
        step(160, Action::Commit(&CACHE_HEADER)),
        step(185, Action::Deploy("frontend")),
        step(
            290,
            Action::Flag {
                service: "frontend",
                flag: "free-shipping-banner",
                on: true,
                by: "Ife Okafor",
            },
        ),
        step(400, Action::Commit(&SAY_WHAT_IS_LEFT)),
        step(425, Action::Deploy("inventory")),
        step(545, Action::Commit(&EUROS)),
        step(575, Action::Deploy("checkout")),
    ],
    rule: Rule {
        monitor: "checkout-orders-p95",
        service: "checkout",
        route: "/orders",
        watch: Watch::P95,
        threshold: 1.0,
    },
    cause: Cause::Commit {
        plan: &SAY_WHAT_IS_LEFT,
        service: "inventory",
        kind: "resource_leak",
    },
    why: "Since its deploy inventory keeps the database connection of each reservation that is refused because a product is \
          short: the early return does not give the lease back. Each such order costs one of twelve connections; some minutes \
          later none is left and every request waits for one and fails. The deploy of checkout shortly before the alert only \
          words a log line.",
};

const FAILED_PAYMENTS: Scenario = Scenario {
    name: "failed-payments",
    title: "Many checkouts end in an error",
    steps: &[
        step(60, Action::Commit(&WIKI)),
        step(180, Action::Commit(&LAST_PIECES)),
        step(205, Action::Deploy("inventory")),
        step(
            320,
            Action::Flag {
                service: "frontend",
                flag: "free-shipping-banner",
                on: true,
                by: "Ife Okafor",
            },
        ),
        step(425, Action::Commit(&STATEMENT)),
        step(455, Action::Deploy("payment")),
        step(510, Action::Provider(Behaviour::OUTAGE)),
    ],
    rule: Rule {
        monitor: "checkout-orders-errors",
        service: "checkout",
        route: "/orders",
        watch: Watch::ErrorShare,
        threshold: 0.1,
    },
    cause: Cause::Provider,
    why: "AcmePay, the outside card provider, answers most charges with 503 and all of them slowly. The deploy of payment a \
          minute before changes the text on the card statement, and its payments went through until the provider failed.",
};
