# shellcheck shell=bash
# What ./dev check looks at. Read by ./dev.

check_format() { cargo fmt --all --check; }

check_clippy() { cargo clippy -q --workspace --all-targets "$@" -- -D warnings; }

check_dependencies() {
  # In the selection of every other build, as its one package alone would be built with other features.
  cargo test -q --workspace --test integration -- layers::
  if cargo deny --version >/dev/null 2>&1; then
    cargo deny --offline check bans licenses sources
  fi
}

check_sql_cache() (
  with_cluster pg-check
  fresh=$(mktemp -d)
  write_sql_cache "$fresh"
  diff -r "$fresh" .sqlx || {
    echo "the SQL cache is not what the queries say: run ./dev prepare"
    exit 1
  }
  rm -rf "$fresh"
)

scripts() {
  git ls-files --cached --others --exclude-standard |
    while read -r file; do
      if [ -f "$file" ] && head -c 64 "$file" | grep -qE '^#(!.*\b(ba)?sh\b| shellcheck shell=)'; then echo "$file"; fi
    done
}

check_scripts() {
  local script
  for script in $(scripts); do
    bash -n "$script"
    if has shellcheck; then shellcheck -S warning "$script"; fi
  done
}

check_lengths() {
  { git ls-files --cached --others --exclude-standard '*.rs'; scripts; } | while read -r file; do
    if [ -f "$file" ] && [ "$(wc -l <"$file")" -gt 500 ]; then
      echo "$file has more than 500 lines; find the seam"
    fi
  done | { ! grep .; }
}

check_readme() {
  local name
  for name in demo test check up; do
    grep -qF "./dev $name" README.md || { echo "README.md does not name ./dev $name"; return 1; }
  done
}

passed=0
failed=0
run_check() {
  local title=$1 log status=0
  shift
  log=$(mktemp)
  # Not as a condition: inside one, bash would ignore `set -e` and lose every failure but the last.
  set +e
  (set -e; "$@") >"$log" 2>&1
  status=$?
  set -e
  if [ "$status" = 0 ]; then
    passed=$((passed + 1))
    echo "ok    $title"
  else
    failed=$((failed + 1))
    echo "FAIL  $title"
    sed 's/^/      /' "$log"
  fi
  rm -f "$log"
}

check_all() {
  require_machine
  run_check "format" check_format
  run_check "file lengths" check_lengths
  run_check "scripts" check_scripts
  run_check "README names the commands" check_readme
  run_check "sandbox image recipe" sandbox-image/agree
  run_check "clippy" check_clippy
  run_check "clippy of what attacks take controls from" check_clippy --features nightshift-security/weakened
  run_check "SQL cache" check_sql_cache
  run_check "dependency rules" check_dependencies
  echo "check: $passed passed, $failed failed"
  [ "$failed" = 0 ]
}
