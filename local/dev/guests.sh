# shellcheck shell=bash
# What virtual machines need: QEMU and a kernel. Read by ./dev.

# What sandboxes as virtual machines take: only who asks for them gets it (NIGHTSHIFT_MACHINES=qemu).
missing_vm_packages() {
  has qemu-system-x86_64 || echo qemu-system-x86
  has mke2fs || [ -x /usr/sbin/mke2fs ] || echo e2fsprogs
  has xz || echo xz-utils
}

# The oldest kernel that a guest may have: before it, landlock cannot keep a file from being emptied, and the
# supervisor refuses to run.
oldest_kernel=6.2

# Which version the guests' kernel has, by the header that boot loaders read.
kernel_version() {
  local at
  at=$(od -An -tu2 -j526 -N2 "$1") # the place of the text, less 512
  dd if="$1" bs=1 skip=$((at + 512)) count=64 2>/dev/null | tr '\0 ' '\n\n' | sed -n 1p
}

has_kernel() {
  [ -f "$local/kernel/vmlinuz" ] &&
    [ "$(printf '%s\n' "$oldest_kernel" "$(kernel_version "$local/kernel/vmlinuz")" | sort -V | head -n 1)" = "$oldest_kernel" ]
}

# The newest of Debian's kernels for clouds that this machine's apt knows: an older Debian has a newer kernel
# beside its own.
kernel_package() {
  local name package
  for name in linux-image-cloud-amd64 \
    $(apt-cache pkgnames linux-image- | grep -E '^linux-image-[0-9.]+-cloud-amd64$' | sort -rV); do
    package=$(apt-cache depends "$name" 2>/dev/null | awk '/Depends: linux-image-/ { print $2; exit }')
    [ -n "$package" ] || continue
    if dpkg --compare-versions "${package#linux-image-}" ge "$oldest_kernel"; then
      echo "$package"
      return
    fi
  done
}

# A guest's kernel is Debian's for clouds, as its package has it: taken apart, never installed. Fails, and
# says why, where it cannot be had.
require_vm() {
  local packages work package
  packages=$(missing_vm_packages | xargs)
  if [ -n "$packages" ]; then
    can_install || {
      say "dev: virtual machines need: $packages"
      return 1
    }
    say "dev: installing $packages"
    # shellcheck disable=SC2086 # a list of words
    as_root apt-get update -qq >&2 && as_root env DEBIAN_FRONTEND=noninteractive \
      apt-get install -y -qq --no-install-recommends $packages >&2 || return 1
  fi
  ! has_kernel || return 0
  has apt-get && has dpkg-deb || {
    say "dev: a guest's kernel is taken from Debian's package linux-image-cloud-amd64, for which apt-get is needed"
    return 1
  }
  package=$(kernel_package)
  [ -n "$package" ] || {
    say "dev: this machine's apt knows no kernel for clouds of $oldest_kernel or later; run apt-get update"
    return 1
  }
  say "dev: fetching a guest's kernel, $package"
  mkdir -p "$local"
  work=$(mktemp -d "$local/kernel.XXXXXX")
  (cd "$work" && apt-get download -qq "$package" >&2 && dpkg-deb -x ./*.deb tree) || {
    rm -rf "$work"
    return 1
  }
  mkdir -p "$work/kernel/modules"
  cp "$work"/tree/boot/vmlinuz-* "$work/kernel/vmlinuz"
  find "$work/tree" -name 'virtio*.ko*' -exec cp {} "$work/kernel/modules/" \;
  find "$work/kernel/modules" -name '*.xz' -exec xz -d {} +
  rm -rf "$local/kernel"
  mv "$work/kernel" "$local/kernel"
  rm -rf "$work"
}
