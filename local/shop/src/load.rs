//! Customers: they browse departments, look at products, and some of them buy.

use std::{sync::Arc, time::Duration};

use clap::Args;
use rand::{Rng, seq::IndexedRandom};
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    call::Peer,
    goods::{CATEGORIES, Line, Order},
    stock_list,
    telemetry::{Telemetry, trace::Trace},
};

/// Command line of the load generator.
#[derive(Debug, Clone, Args)]
pub struct LoadSettings {
    /// Where the frontend listens.
    #[arg(long)]
    pub frontend: String,
    /// Visits that begin in a second, on average; a visit makes some five requests.
    #[arg(long, default_value_t = 2.0)]
    pub visits: f64,
    /// Where the generator writes its own log, which is not part of the shop's.
    #[arg(long)]
    pub telemetry_dir: std::path::PathBuf,
}

/// Sends customers until SIGTERM.
pub async fn run(settings: LoadSettings) -> anyhow::Result<()> {
    let telemetry = Telemetry::open("load", &settings.telemetry_dir)?;
    let limit = Duration::from_secs(12);
    let frontend = Peer::new(&telemetry, "frontend", settings.frontend, limit);
    let frontend = Arc::new(frontend);
    let mut stop = signal(SignalKind::terminate())?;
    let began = std::time::Instant::now();
    loop {
        // Visits come as they like, and somewhat more of them in one minute than in another.
        let wave = 1.0 + 0.12 * (began.elapsed().as_secs_f64() / 50.0).sin();
        let rate = (settings.visits * wave).max(0.01);
        let pause = -(1.0 - rand::rng().random::<f64>()).ln() / rate;
        tokio::select! {
            _ = stop.recv() => return Ok(()),
            () = tokio::time::sleep(Duration::from_secs_f64(pause.min(5.0))) => {}
        }
        tokio::spawn(visit(Arc::clone(&frontend)));
    }
}

async fn visit(frontend: Arc<Peer>) {
    let mut cart = Vec::new();
    let pages = rand::rng().random_range(1..=4);
    for _ in 0..pages {
        let category = CATEGORIES
            .choose(&mut rand::rng())
            .copied()
            .unwrap_or("garden");
        send(&frontend, &format!("/browse/{category}")).await;
        think().await;
        if rand::rng().random_bool(0.65) {
            let product = stock_list::popular(&mut rand::rng(), category);
            send(&frontend, &format!("/products/{product}")).await;
            think().await;
            if rand::rng().random_bool(0.75) {
                let quantity = rand::rng().random_range(1..=3);
                cart.push(Line { product, quantity });
            }
        }
    }
    if cart.is_empty() || rand::rng().random_bool(0.1) {
        return;
    }
    cart.sort_by_key(|line| line.product);
    cart.dedup_by_key(|line| line.product);
    let order = Order {
        lines: cart,
        card: format!("tok_{:08x}", rand::random::<u32>()),
    };
    // A customer whose order fails goes away; the shop's own telemetry tells about it.
    let _failed = frontend
        .post::<Value>(&Trace::root(0.0), "/checkout", &order)
        .await;
}

async fn send(frontend: &Peer, path: &str) {
    let _failed = frontend.get::<Value>(&Trace::root(0.0), path, path).await;
}

async fn think() {
    let pause = rand::rng().random_range(300..1600);
    tokio::time::sleep(Duration::from_millis(pause)).await;
}
