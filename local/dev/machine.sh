# shellcheck shell=bash
# What a machine must have, and how it gets it. Read by ./dev.

has() { command -v "$1" >/dev/null 2>&1; }

has_postgres() {
  [ -n "${PG_BIN:-}" ] || has initdb || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null
}

missing_packages() {
  has cc || echo build-essential
  has git || echo git
  has bwrap || echo bubblewrap
  has_postgres || echo postgresql
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

can_install() {
  has apt-get || return 1
  [ "$(id -u)" = 0 ] || { has sudo && sudo -n true 2>/dev/null; }
}

require_packages() {
  local packages
  packages=$(missing_packages | xargs)
  [ -n "$packages" ] || return 0
  can_install || fail "this machine lacks: $packages
Install them (Debian, Ubuntu: sudo apt-get update && sudo apt-get install $packages), then run the
command again. Nothing was changed."
  say "dev: installing $packages"
  as_root apt-get update -qq >&2
  # shellcheck disable=SC2086 # a list of words
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends $packages >&2
  packages=$(missing_packages | xargs)
  [ -z "$packages" ] || fail "still missing after installing: $packages"
}

# What the sandbox's image is built with. Without it sandboxes stand on this machine's /usr.
missing_image_packages() {
  has mmdebstrap || echo mmdebstrap
  has buildah || echo buildah
  has strip || echo binutils
  has jq || echo jq
  has dpkg || echo dpkg
}

# Fails, and says why, where they cannot be had.
install_image_packages() {
  local packages
  packages=$(missing_image_packages | xargs)
  [ -n "$packages" ] || return 0
  can_install || {
    say "dev: the sandbox's image needs: $packages"
    return 1
  }
  say "dev: installing $packages"
  # shellcheck disable=SC2086 # a list of words
  as_root apt-get update -qq >&2 && as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends $packages >&2
}


require_rust() {
  has cargo || [ ! -f "$HOME/.cargo/env" ] || . "$HOME/.cargo/env"
  has cargo || fail "Rust is not installed; see https://rustup.rs, then run the command again"
}

require_machine() {
  require_rust
  require_packages
  if [ "${NIGHTSHIFT_MACHINES:-}" = qemu ]; then
    require_vm || fail "no virtual machines; without NIGHTSHIFT_MACHINES=qemu, sandboxes are bubblewrap's"
    # The host's /usr is not theirs.
    export NIGHTSHIFT_SANDBOX_BASE=debian
  fi
}
