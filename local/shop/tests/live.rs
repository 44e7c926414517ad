//! The shop as processes: it opens, sells, traces, fails when it is told to, and leaves nothing behind.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use futures_util::future::join_all;
use nightshift_shop::{
    goods::{Line, Order},
    recorder::http::Http,
    recording::{Span, read_plain_lines},
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const SHOP: &str = env!("CARGO_BIN_EXE_shop");

async fn open(dir: &Path) -> anyhow::Result<(Child, Value)> {
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755))?;
    let output = fs::File::create(dir.join("up.log"))?;
    let shop = Command::new(SHOP)
        .arg("up")
        .arg("--dir")
        .arg(dir)
        .stdin(Stdio::null())
        .stderr(output)
        .spawn()?;
    for _ in 0..300 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if let Ok(text) = fs::read(dir.join("shop.json"))
            && let Ok(state) = serde_json::from_slice(&text)
        {
            return Ok((shop, state));
        }
    }
    anyhow::bail!(
        "not open after 30 s: {}",
        fs::read_to_string(dir.join("up.log"))?
    )
}

fn switch(dir: &Path, to: &str, name: &str) -> anyhow::Result<bool> {
    let arguments = ["fault", to, name, "--dir"];
    let output = Command::new(SHOP).args(arguments).arg(dir).output()?;
    Ok(output.status.success())
}

/// How many of twelve orders end in 502.
async fn failed_orders(frontend: &str) -> usize {
    let http = Http::default();
    let url = format!("{frontend}/checkout");
    let order = Order {
        lines: vec![Line {
            product: 12,
            quantity: 1,
        }],
        card: "tok_1".to_owned(),
    };
    let answers = join_all((0..12).map(|_| http.post(&url, &order))).await;
    let failed = |answer: &Result<(), _>| {
        answer
            .as_ref()
            .is_err_and(|error| ToString::to_string(error).contains("502"))
    };
    answers.iter().filter(|answer| failed(answer)).count()
}

fn processes_that_name(dir: &Path) -> usize {
    let name = dir.display().to_string();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|process| fs::read(process.path().join("cmdline")).ok())
        .filter(|line| String::from_utf8_lossy(line).contains(&name))
        .count()
}

#[tokio::test]
async fn the_shop_sells_until_its_provider_fails_and_leaves_no_process_behind() {
    let dir = tempfile::Builder::new()
        .prefix("shop-")
        .tempdir()
        .expect("a directory");
    let (mut shop, state) = open(dir.path()).await.expect("an open shop");
    let frontend = state["frontend"].as_str().expect("an address");

    let page = Http::default()
        .text(&format!("{frontend}/browse/toys"))
        .await
        .expect("a page");
    let page: Value = serde_json::from_str(&page).expect("JSON");
    assert_eq!(page["products"].as_array().map(Vec::len), Some(60));
    assert_eq!(page["recommended"].as_array().map(Vec::len), Some(4));

    assert_eq!(failed_orders(frontend).await, 0);
    assert!(switch(dir.path(), "on", "failed-payments").expect("run"));
    assert!(failed_orders(frontend).await > 0);
    assert!(!switch(dir.path(), "on", "no-such-fault").expect("run"));

    let mut spans: Vec<Span> = Vec::new();
    for file in fs::read_dir(dir.path().join("telemetry"))
        .expect("telemetry")
        .flatten()
    {
        if file.path().extension().is_some_and(|kind| kind == "spans") {
            spans.extend(read_plain_lines::<Span>(&file.path()).expect("spans"));
        }
    }
    let server = |span: &&Span| span.service == "payment" && span.kind == "server";
    let payment = spans.iter().find(server).expect("a payment");
    let parent = |child: &Span| {
        let is = |span: &&Span| Some(&span.span_id) == child.parent_id.as_ref();
        spans.iter().find(is).cloned()
    };
    let caller = parent(payment).expect("the caller's span");
    assert_eq!(
        (caller.service.as_str(), caller.peer.as_deref()),
        ("checkout", Some("payment"))
    );
    let order = parent(&caller)
        .and_then(|order| parent(&order))
        .expect("two spans above");
    assert_eq!(
        (order.service.as_str(), order.trace_id),
        ("frontend", payment.trace_id.clone())
    );

    assert!(processes_that_name(dir.path()) > 8);
    let pid = i32::try_from(shop.id())
        .ok()
        .and_then(Pid::from_raw)
        .expect("a process");
    kill_process(pid, Signal::TERM).expect("alive");
    assert!(shop.wait().expect("ended").success());
    assert_eq!(processes_that_name(dir.path()), 0);
}

#[tokio::test]
async fn a_shop_that_is_killed_takes_its_processes_with_it() {
    let dir = tempfile::Builder::new()
        .prefix("shop-")
        .tempdir()
        .expect("a directory");
    let (mut shop, _) = open(dir.path()).await.expect("an open shop");
    shop.kill().expect("alive");
    shop.wait().expect("ended");
    for _ in 0..100 {
        if processes_that_name(dir.path()) == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{} processes are left", processes_that_name(dir.path()));
}
