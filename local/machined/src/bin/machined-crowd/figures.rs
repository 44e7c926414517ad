//! How the figures are shown.

use std::time::Duration;

use nightshift_terminal::{Paint, Percentiles, Style, Table, answer};
use serde_json::{Value, json};

use crate::{leftovers::Left, peer::Peer, run::Life};

/// Everything that was measured.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) machines: usize,
    pub(crate) parallel: usize,
    pub(crate) volumes: bool,
    pub(crate) made: Duration,
    pub(crate) lives: Vec<Life>,
    /// From kill -9 of the server until nothing of any sandbox ran.
    pub(crate) killed: Duration,
    /// From the start of the next server until it answered, with everything cleared.
    pub(crate) back: Duration,
    pub(crate) left_by_kill: Left,
    /// From the first deletion until nothing was there.
    pub(crate) deleted: Duration,
    pub(crate) left: Left,
    pub(crate) peer: Peer,
}

impl Figures {
    /// Prints them, with JSON as the last line if that is wanted.
    pub(crate) fn show(&self, json: bool) {
        let paint = Paint::for_stdout();
        let with = if self.volumes { "with" } else { "without" };
        let title = format!(
            "{} sandboxes, {with} a volume each, {} calls at a time",
            self.machines, self.parallel
        );
        answer(&paint.paint(Style::Heading, &title));
        let mut table = Table::new([
            "start",
            "all alive s",
            "p50 ms",
            "p99 ms",
            "max ms",
            "MiB each",
        ]);
        let seconds = |took: Duration| format!("{:.1}", took.as_secs_f64());
        for (name, life) in ["first", "after a kill"].into_iter().zip(&self.lives) {
            let found = life.percentiles();
            table.row(&[
                name.to_owned(),
                seconds(life.alive),
                format!("{:.1}", found.p50),
                format!("{:.1}", found.p99),
                format!("{:.1}", found.max),
                mib(life.kib),
            ]);
        }
        let bare = [
            "bare bubblewrap, one after the other".to_owned(),
            seconds(self.peer.started),
            "-".to_owned(),
            "-".to_owned(),
            "-".to_owned(),
            mib(self.peer.kib),
        ];
        table.row(&bare);
        answer(table.show(paint).trim_end());
        let line = |what: &str, took| answer(&format!("{what}: {} s", seconds(took)));
        line("made (app, volume, machine, file system)", self.made);
        line("kill -9 of the server until no sandbox ran", self.killed);
        line("next server up, with what was left cleared", self.back);
        line("everything deleted", self.deleted);
        line("bare bubblewrap ended", self.peer.ended);
        answer(&format!("left by the kill: {}", told(&self.left_by_kill)));
        answer(&format!("left at the end: {}", told(&self.left)));
        if json {
            answer(&self.json().to_string());
        }
    }

    fn json(&self) -> Value {
        let lives = self.lives.iter().map(|life| {
            json!({
                "alive_s": life.alive.as_secs_f64(), "start_ms": life.percentiles(),
                "kib_each": life.kib, "server_kib": life.server_kib,
            })
        });
        json!({
            "machines": self.machines, "parallel": self.parallel, "volumes": self.volumes,
            "made_s": self.made.as_secs_f64(), "lives": lives.collect::<Vec<_>>(),
            "killed_s": self.killed.as_secs_f64(), "back_s": self.back.as_secs_f64(),
            "deleted_s": self.deleted.as_secs_f64(),
            "left_by_kill": self.left_by_kill, "left": self.left,
            "peer": {
                "alive_s": self.peer.started.as_secs_f64(), "ended_s": self.peer.ended.as_secs_f64(),
                "kib_each": self.peer.kib,
            },
        })
    }
}

impl Life {
    fn percentiles(&self) -> Percentiles {
        Percentiles::of(&self.starts_ms).unwrap_or(Percentiles {
            p50: 0.0,
            p90: 0.0,
            p99: 0.0,
            max: 0.0,
        })
    }
}

fn mib(kib: u64) -> String {
    format!("{}.{}", kib / 1024, kib % 1024 * 10 / 1024)
}

fn told(left: &Left) -> String {
    format!(
        "{} processes, {} mounts, {} loop devices, {} cgroups, {} files",
        left.processes, left.mounts, left.loop_devices, left.cgroups, left.files
    )
}
