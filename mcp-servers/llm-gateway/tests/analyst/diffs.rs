//! Diffs in several languages: guilty ones by what they break, and innocent ones of every sort.

use rand::{Rng, rngs::StdRng, seq::IndexedRandom};

/// A change of one file; `{s}` is the service, `{w}` a word of its trade.
pub(crate) type Diff = (&'static str, &'static str);

/// Puts a query or a call into a loop, instead of one for all.
pub(crate) const LOOPS: &[Diff] = &[
    (
        "services/{s}/src/list.rs",
        "@@ -10,8 +10,13 @@ pub async fn {w}s(db: &Client, ids: &[i64]) -> Result<Vec<Row>, Error> {\n-    let rows = db\n-        .query(\"select id, label from {w} where id = any($1)\", &[&ids])\n-        .await?;\n-    Ok(rows)\n+    let mut rows = Vec::with_capacity(ids.len());\n+    for id in ids {\n+        let row = db\n+            .query_one(\"select id, label from {w} where id = $1\", &[id])\n+            .await?;\n+        rows.push(row);\n+    }\n+    Ok(rows)\n }\n",
    ),
    (
        "services/{s}/{w}.py",
        "@@ -4,6 +4,8 @@ class Store:\n     def with_details(self, items):\n-        found = self.session.execute(BY_IDS, {\"ids\": [i.id for i in items]}).all()\n-        return {row.id: row for row in found}\n+        details = {}\n+        for item in items:\n+            details[item.id] = self.session.execute(BY_ID, {\"id\": item.id}).one()\n+        return details\n",
    ),
    (
        "{s}/{w}.go",
        "@@ -20,7 +20,12 @@ func (s *Server) {w}s(ctx context.Context, ids []int64) ([]Row, error) {\n-\trows, err := s.db.QueryContext(ctx, allSQL, pq.Array(ids))\n+\tout := make([]Row, 0, len(ids))\n+\tfor _, id := range ids {\n+\t\tr := s.db.QueryRowContext(ctx, oneSQL, id)\n+\t\tout = append(out, scan(r))\n+\t}\n \treturn out, nil\n",
    ),
    (
        "apps/{s}/index.ts",
        "@@ -30,5 +30,5 @@ export async function render(items) {\n-  const labels = await {w}Repo.findMany(items.map((i) => i.id));\n+  const labels = await Promise.all(items.map((i) => {w}Repo.findOne(i.id)));\n   return view(items, labels);\n",
    ),
];

/// Takes something limited and does not always give it back.
pub(crate) const LEAKS: &[Diff] = &[
    (
        "services/{s}/src/{w}.rs",
        "@@ -31,9 +31,12 @@ pub fn reserve(pool: &Pool, wanted: &[Item]) -> Result<Ticket, Error> {\n     let conn = pool.acquire()?;\n     let stock = conn.query(STOCK, &[])?;\n+    if wanted.iter().any(|item| !stock.has(item)) {\n+        return Err(Error::Missing);\n+    }\n     let ticket = write(&conn, wanted)?;\n     pool.release(conn);\n     Ok(ticket)\n }\n",
    ),
    (
        "services/{s}/db.py",
        "@@ -12,8 +12,7 @@ def rows(sql):\n     conn = pool.getconn()\n-    try:\n-        return conn.execute(sql).fetchall()\n-    finally:\n-        pool.putconn(conn)\n+    result = conn.execute(sql).fetchall()\n+    return result\n",
    ),
    (
        "{s}/store.go",
        "@@ -40,7 +40,6 @@ func (s *Store) {w}(ctx context.Context) (int, error) {\n \tconn, err := s.pool.Acquire(ctx)\n \tif err != nil {\n \t\treturn 0, err\n \t}\n-\tdefer conn.Release()\n \treturn count(ctx, conn)\n }\n",
    ),
    (
        "apps/{s}/db.js",
        "@@ -8,9 +8,10 @@ async function save({w}) {\n   const client = await pool.connect();\n   await client.query(\"begin\");\n+  if (!{w}.lines.length) return null;\n   await client.query(INSERT, {w}.lines);\n   await client.query(\"commit\");\n   client.release();\n }\n",
    ),
];

/// Sets a cache to keep less, or for less long.
pub(crate) const CACHES: &[Diff] = &[
    (
        "deploy/{s}.yaml",
        "@@ -5,4 +5,4 @@\n cache:\n-  ttl_seconds: 300\n+  ttl_seconds: 1\n   shards: 4\n",
    ),
    (
        "services/{s}/src/settings.rs",
        "@@ -9,4 +9,4 @@\n-const CACHE_TTL: Duration = Duration::from_secs(600);\n+const CACHE_TTL: Duration = Duration::from_millis(600);\n",
    ),
    (
        "services/{s}/config.py",
        "@@ -2,3 +2,3 @@\n-CACHE_MAX_ENTRIES = 50_000\n+CACHE_MAX_ENTRIES = 50\n",
    ),
];

/// Lowers a limit.
pub(crate) const LIMITS: &[Diff] = &[
    (
        "deploy/{s}.toml",
        "@@ -3,3 +3,3 @@\n [database]\n-max_connections = 40\n+max_connections = 4\n",
    ),
    (
        "pkg/db/pool.go",
        "@@ -11,3 +11,3 @@\n-\tdefaultMaxConns = 64\n+\tdefaultMaxConns = 8\n",
    ),
];

/// Lowers the patience with another service.
pub(crate) const TIMEOUTS: &[Diff] = &[
    (
        "services/{s}/src/client.rs",
        "@@ -7,3 +7,3 @@\n-        .timeout(Duration::from_secs(3))\n+        .timeout(Duration::from_millis(3))\n",
    ),
    (
        "deploy/{s}.yaml",
        "@@ -8,3 +8,3 @@\n upstream:\n-  request_timeout_ms: 2000\n+  request_timeout_ms: 2\n",
    ),
];

/// Fails where it did not, with what the logs then say.
pub(crate) const FAILURES: &[(Diff, &str)] = &[
    (
        (
            "services/{s}/src/{w}.rs",
            "@@ -14,4 +14,6 @@ fn total(lines: &[Line]) -> Result<Money, Error> {\n+    let rebate = lines[0].rebate.parse::<u32>()\n+        .map_err(|_| Error::new(\"rebate is not a whole number\"))?;\n     Ok(sum(lines))\n",
        ),
        "request failed: rebate is not a whole number",
    ),
    (
        (
            "services/{s}/{w}.py",
            "@@ -22,4 +22,5 @@ def quote(basket):\n-    region = basket.get(\"shipping_region\", \"eu\")\n+    region = basket[\"shipping_region\"]\n+    validate_region(region)\n     return tariff(region)\n",
        ),
        "KeyError: 'shipping_region' in quote",
    ),
    (
        (
            "{s}/handler.go",
            "@@ -50,5 +50,5 @@ func (h *Handler) {w}(w http.ResponseWriter, r *http.Request) {\n-\tif profile != nil && profile.Address != nil {\n+\tif profile.Address != nil {\n \t\tship(profile.Address)\n \t}\n",
        ),
        "panic: nil pointer dereference: profile.Address in ship",
    ),
];

/// Changes of every sort that break nothing.
pub(crate) const INNOCENT: &[Diff] = &[
    (
        "docs/{s}.md",
        "@@ -1,2 +1,3 @@\n # {s}\n+Ask the team before you restart the pool.\n",
    ),
    (
        "services/{s}/tests/pool.rs",
        "@@ -5,2 +5,6 @@\n+#[test]\n+fn a_connection_comes_back() {\n+    let conn = pool.acquire();\n+    pool.release(conn);\n+}\n",
    ),
    (
        "services/{s}/src/pool.rs",
        "@@ -18,3 +18,3 @@ impl Pool {\n-        debug!(\"connection taken\");\n+        debug!(in_use = self.in_use(), \"connection taken from the pool\");\n",
    ),
    (
        "services/{s}/src/db.rs",
        "@@ -3,3 +3,3 @@\n-    idle_timeout: Duration::from_secs(60),\n+    idle_timeout: Duration::from_secs(300),\n",
    ),
    (
        "services/{s}/config.py",
        "@@ -4,3 +4,3 @@\n-REQUEST_TIMEOUT_SECONDS = 2\n+REQUEST_TIMEOUT_SECONDS = 3\n",
    ),
    (
        "deploy/{s}.toml",
        "@@ -3,3 +3,3 @@\n [database]\n-max_connections = 20\n+max_connections = 25\n",
    ),
    (
        "services/{s}/src/view.rs",
        "@@ -40,4 +40,6 @@ fn totals(lines: &[Line]) -> Money {\n-    lines.iter().map(|line| line.price).sum()\n+    let mut sum = Money::ZERO;\n+    for line in lines {\n+        sum += line.price * line.count;\n+    }\n+    sum\n",
    ),
    (
        "apps/{s}/format.ts",
        "@@ -3,3 +3,3 @@\n-export const money = (cents) => (cents / 100).toFixed(2);\n+export const money = (cents) => `${Math.floor(cents / 100)},${cents % 100}`;\n",
    ),
    (
        "services/{s}/{w}.py",
        "@@ -9,4 +9,4 @@ def label(row):\n-    text = row.title\n-    return text.strip()\n+    label = row.title\n+    return label.strip()\n",
    ),
    (
        "{s}/metrics.go",
        "@@ -2,2 +2,5 @@\n+var {w}Seen = prometheus.NewCounter(prometheus.CounterOpts{\n+\tName: \"{w}_seen_total\",\n+})\n",
    ),
    (
        "services/{s}/Cargo.toml",
        "@@ -8,3 +8,3 @@\n-itoa = \"1.0.9\"\n+itoa = \"1.0.11\"\n",
    ),
    (
        "services/{s}/src/http.rs",
        "@@ -12,3 +12,4 @@ fn headers(response: &mut Response) {\n     response.insert(\"x-frame-options\", \"deny\");\n+    response.insert(\"referrer-policy\", \"no-referrer\");\n",
    ),
    (
        "services/{s}/src/receipt.rs",
        "@@ -22,4 +22,7 @@ fn receipt(order: &Order) -> String {\n-    format!(\"{} cents\", order.cents)\n+    let whole = order.cents / 100;\n+    let rest = order.cents % 100;\n+    format!(\"{whole}.{rest:02}\")\n",
    ),
    ("README.md", "@@ -1 +1 @@\n-# system\n+# The system\n"),
    (
        "services/{s}/src/pool.rs",
        "@@ -30,6 +30,7 @@ fn run(pool: &Pool) -> Result<(), Error> {\n     let conn = pool.acquire()?;\n     let done = work(&conn);\n+    let done = done.map_err(Error::from);\n     pool.release(conn);\n     done\n",
    ),
];

/// One of these, with the service's name and a word put in.
pub(crate) fn pick(rng: &mut StdRng, among: &[Diff], service: &str) -> (String, String) {
    let (path, text) = among.choose(rng).copied().unwrap_or(("README.md", "+x\n"));
    fill(rng, path, text, service)
}

/// The service's name and a word put in.
pub(crate) fn fill(rng: &mut StdRng, path: &str, text: &str, service: &str) -> (String, String) {
    const TRADE: &[&str] = &[
        "parcel", "seat", "recipe", "ledger", "ticket", "sensor", "voucher",
    ];
    let word = TRADE[rng.random_range(0..TRADE.len())];
    let put = |text: &str| text.replace("{s}", service).replace("{w}", word);
    (put(path), put(text))
}
