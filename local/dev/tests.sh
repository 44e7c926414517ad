# shellcheck shell=bash
# What ./dev test runs. Read by ./dev.

run_nextest() { cargo nextest run --workspace "$@"; }

# cargo test closes each of its binaries with a line; this adds them up.
run_cargo_test() {
  local log status=0
  log=$(mktemp)
  cargo test --workspace --no-fail-fast "$@" 2>&1 | tee "$log" || status=$?
  awk '/^test result:/ { passed += $4; failed += $6 }
    END { printf "tests: %d passed, %d failed\n", passed, failed }' "$log"
  rm -f "$log"
  return "$status"
}

# What only ministack can answer is marked as ignored otherwise.
test_ministack() {
  zips
  if cargo nextest --version >/dev/null 2>&1; then
    local/queues/with-ministack "$local" cargo nextest run --workspace --test conformance \
      --run-ignored only --success-output final
    local/queues/with-ministack "$local" cargo nextest run --workspace --test e2e \
      --run-ignored only
  else
    local/queues/with-ministack "$local" cargo test --workspace --test conformance -- --ignored --nocapture
    local/queues/with-ministack "$local" cargo test --workspace --test e2e -- --ignored
  fi
}

# The servers of a whole stack, so every program is needed.
test_conformance() {
  require_machine
  build
  tests/conformance/with-conformance "$local" "$target/debug/conformance" "$@"
}

test_all() {
  local ministack_too=false
  if [ "${1:-}" = --ministack ]; then
    ministack_too=true
    shift
  fi
  require_machine
  # One selection for the binaries that tests start and for the tests, so nothing is built twice.
  say "dev: building (the first time takes some minutes)"
  cargo build --workspace --bins --tests
  with_cluster pg-test
  if cargo nextest --version >/dev/null 2>&1; then
    run_nextest "$@"
  else
    run_cargo_test "$@"
  fi
  test_virtual_machines "$@"
  # Whoever selects tests wants those.
  if [ $# = 0 ]; then
    find_planted_bugs
    attack_both_ways
  fi
  if $ministack_too; then test_ministack; fi
}

# The same contract again, over virtual machines, where they were made possible.
test_virtual_machines() {
  local why='' log status=0
  [ $# = 0 ] || return 0
  if ! has qemu-system-x86_64; then
    why='qemu-system-x86_64 is not installed'
  elif ! has_kernel; then
    why="there is no guest kernel of $oldest_kernel or later in .local/kernel"
  elif [ "$(uname -m)" != x86_64 ]; then
    why="this machine's processor is not of the kind that guests are built for"
  fi
  if [ -n "$why" ]; then
    say "SKIPPED: machined's contract over qemu: $why (NIGHTSHIFT_MACHINES=qemu ./dev test makes it possible)"
    return 0
  fi
  say "dev: machined's contract over qemu (some minutes)"
  log=$(mktemp)
  # Two at once: without KVM a guest that boots takes a whole processor, whatever machined's own turns are.
  MACHINED_CONTRACT_BACKEND=qemu MACHINED_CONTRACT_KERNEL="$local/kernel" \
    cargo test --workspace --test contract -- --test-threads 2 --show-output >"$log" 2>&1 || status=$?
  if [ "$status" = 0 ]; then
    grep -E '^test result:' "$log"
    # What was not tried there must not look as if it had been.
    { grep -E '^SKIPPED:' "$log" || true; } | sort | uniq -c >&2
  else
    cat "$log" >&2
  fi
  rm -f "$log"
  return "$status"
}

# The one build that knows planted bugs. In one selection with the whole workspace, so that the crates of
# others are those of every other build.
build_simulate() { cargo build -q --workspace --features nightshift-simulation/plants --bin simulate; }

# The explorer must see bugs: three of those that can be planted.
find_planted_bugs() {
  local bug status
  build_simulate
  for bug in marked-before-send epoch-reset lost-coalesced-wake; do
    status=0
    "$target/debug/simulate" --seeds 200 --plant "$bug" || status=$?
    [ "$status" = 1 ] || fail "the crash explorer does not see $bug"
  done
  # What finds a bug must find it again when somebody looks at it step by step.
  cmp <("$target/debug/simulate" --seed 3 --plant marked-before-send) \
    <("$target/debug/simulate" --seed 3 --plant marked-before-send) ||
    fail "the crash explorer does not replay a seed"
}

# The one build in which controls can be switched off: the attack suite, which holds what it attacks.
# No server is built by it, so none that is weakened can be started by mistake.
build_attack() {
  say "dev: building the attack suite with switches; no other program has them"
  cargo build -q --workspace --features nightshift-security/weakened --bin attack
}

# Every attack is stopped, and some would succeed without the controls that stop them; all would, says
# ./dev attack --without all --expect-success.
attack_both_ways() {
  build_attack
  "$target/debug/attack" || fail "an attack was not stopped"
  "$target/debug/attack" --without all --expect-success --every 8 || fail "an attack fails without its control"
}
