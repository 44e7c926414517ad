//! Who is served before whom: I6, I7, and each tenant's limit.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::Commit;
use crate::{
    core::Core,
    snapshot::{Snapshot, TicketRow},
};

impl Commit<'_> {
    pub(super) fn order(&self, core: &Core, broken: &mut Vec<String>) {
        let granted: Vec<&TicketRow> = self
            .after
            .tickets
            .iter()
            .filter(|now| self.was_granted(now))
            .collect();
        if granted.is_empty() {
            return;
        }
        let mut served: BTreeMap<Uuid, usize> = BTreeMap::new();
        for ticket in &granted {
            *served.entry(ticket.tenant_id).or_default() += 1;
            self.nobody_was_passed_over(ticket, broken);
        }
        for (tenant, count) in &served {
            self.limit_holds(core, *tenant, *count, broken);
        }
        for row in &core.endpoints {
            let tenant = row.tenant.as_uuid();
            let count = served.get(&tenant).copied().unwrap_or_default();
            let most = served.values().max().copied().unwrap_or_default();
            // I7: within a batch, whoever still waits and has room was served almost as often as anybody.
            if most > count + 1 && self.could_have_more(core, tenant, count) {
                broken.push(format!(
                    "I7: in one batch ten_{} was served {count} times, another {most} times",
                    tenant.simple()
                ));
            }
        }
    }

    fn was_granted(&self, now: &TicketRow) -> bool {
        let was = self.before.ticket(now.investigation_id);
        now.state == "granted" && was.is_some_and(|was| was.state == "waiting")
    }

    /// I6: first come, first served within a tenant. Only who waited all the while can be passed over: a
    /// ticket that was put back, or accepted, while this was being decided was not there.
    fn nobody_was_passed_over(&self, ticket: &TicketRow, broken: &mut Vec<String>) {
        let waited = |seen: &Snapshot, one: &TicketRow| {
            seen.ticket(one.investigation_id)
                .is_some_and(|seen| seen.state == "waiting")
        };
        let passed = self.after.waiting().find(|one| {
            one.tenant_id == ticket.tenant_id
                && one.place < ticket.place
                && [self.begun, self.decided, self.before]
                    .iter()
                    .all(|seen| waited(seen, one))
        });
        if let Some(passed) = passed {
            broken.push(format!(
                "I6: inv_{} was served before inv_{}, which came before it",
                ticket.investigation_id.simple(),
                passed.investigation_id.simple()
            ));
        }
    }

    /// I8: a tenant gets no more than its limit. Someone who rests may be woken beyond it.
    fn limit_holds(&self, core: &Core, tenant: Uuid, served: usize, broken: &mut Vec<String>) {
        let limit = core.limit_of(tenant.into());
        let before = [self.begun, self.decided].map(|seen| seen.running(tenant));
        let before = before.into_iter().min().unwrap_or_default();
        if before + served > limit {
            broken.push(format!(
                "I8: ten_{} was granted {served} beside {before}, and may have {limit}",
                tenant.simple()
            ));
        }
    }

    fn could_have_more(&self, core: &Core, tenant: Uuid, served: usize) -> bool {
        let waits = |seen: &Snapshot| seen.waiting().filter(|one| one.tenant_id == tenant).count();
        let seen = [self.begun, self.decided];
        let waited = seen
            .iter()
            .map(|seen| waits(seen))
            .min()
            .unwrap_or_default();
        let ran = seen
            .iter()
            .map(|seen| seen.running(tenant))
            .max()
            .unwrap_or_default();
        waited > served && ran + served < core.limit_of(tenant.into())
    }
}
