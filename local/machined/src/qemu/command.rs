//! What QEMU is told. There is no network card, no shared directory, no display and no monitor for the
//! guest: two disks and one port are all the devices it has.

use super::{Accelerator, Qemu};

/// The descriptors QEMU finds open, above those that bubblewrap uses.
pub(super) const KERNEL_FD: i32 = 6;
pub(super) const INITRAMFS_FD: i32 = 7;
pub(super) const IMAGE_FD: i32 = 8;
pub(super) const CHANNEL_FD: i32 = 9;
pub(super) const MONITOR_FD: i32 = 10;
pub(super) const VOLUME_FD: i32 = 11;
pub(super) const SNAPSHOT_FD: i32 = 12;

/// What the kernel is told: its worst messages go to the console, and it never waits for anybody.
const KERNEL: &str = "console=ttyS0 quiet loglevel=3 reboot=t panic=-1 8250.nr_uarts=1";
/// Nothing of a PC that a guest could do without, but for a clock chip: a kernel that misses it asks for the
/// time twice, and waits for more than a second each time. With a second interrupt controller, which is the
/// default, Debian's kernel waits for ever for its first disk.
const MACHINE: &str = "microvm,rtc=on,pit=off,pic=off,isa-serial=on,ioapic2=off,x-option-roms=off,\
                       auto-kernel-cmdline=off";
/// Calls QEMU never needs again once it runs.
const SECCOMP: &str = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";

/// One virtual machine.
#[derive(Debug, Clone, Copy)]
pub(super) struct Virtual {
    pub(super) memory_mib: u32,
    pub(super) cpus: u32,
    pub(super) has_volume: bool,
    /// Whether it was suspended and goes on.
    pub(super) frozen: bool,
}

impl Virtual {
    /// QEMU with its arguments.
    pub(super) fn words(&self, qemu: &Qemu) -> Vec<String> {
        let mut words = base(qemu, KERNEL, self.memory_mib, self.cpus);
        let mut say = |more: &[&str]| words.extend(more.iter().map(|&word| word.to_owned()));
        say(&[
            "-add-fd",
            &format!("fd={IMAGE_FD},set=1"),
            "-blockdev",
            "driver=file,node-name=image-file,filename=/dev/fdset/1,read-only=on,locking=off",
            "-blockdev",
            "driver=raw,node-name=image,file=image-file,read-only=on",
            "-device",
            "virtio-blk-device,drive=image,serial=image,bus=virtio-mmio-bus.0",
        ]);
        if self.has_volume {
            say(&[
                "-add-fd",
                &format!("fd={VOLUME_FD},set=2"),
                "-blockdev",
                "driver=file,node-name=volume-file,filename=/dev/fdset/2,discard=unmap,locking=off",
                "-blockdev",
                "driver=raw,node-name=volume,file=volume-file,discard=unmap",
                "-device",
                "virtio-blk-device,drive=volume,serial=volume,discard=on,bus=virtio-mmio-bus.1",
            ]);
        }
        say(&[
            "-chardev",
            &format!("socket,id=channel,fd={CHANNEL_FD}"),
            "-device",
            "virtio-serial-device,max_ports=2,bus=virtio-mmio-bus.2",
            "-device",
            "virtserialport,chardev=channel,nr=1,name=nightshift",
            "-chardev",
            &format!("socket,id=monitor,fd={MONITOR_FD}"),
            "-mon",
            "chardev=monitor,mode=control",
        ]);
        if self.frozen {
            say(&["-incoming", &format!("fd:{SNAPSHOT_FD}")]);
        }
        words
    }
}

/// A machine without any device but its console, which ends as soon as its first process runs.
pub(super) fn probe(qemu: &Qemu) -> Vec<String> {
    base(qemu, &format!("{KERNEL} probe"), 128, 1)
}

fn base(qemu: &Qemu, kernel: &str, memory_mib: u32, cpus: u32) -> Vec<String> {
    let (accelerator, kernel) = match qemu.accelerator {
        Accelerator::Kvm => ("kvm", kernel.to_owned()),
        // Translated code is kept in memory of its own; by default it may become a gigabyte.
        Accelerator::Auto | Accelerator::Tcg => (
            "tcg,tb-size=64",
            format!("{kernel}{}", pace().unwrap_or_default()),
        ),
    };
    [
        qemu.program,
        "-nodefaults",
        "-no-user-config",
        "-nographic",
        "-no-reboot",
        "-sandbox",
        SECCOMP,
        "-M",
        MACHINE,
        "-accel",
        accelerator,
        "-cpu",
        "max",
        "-m",
        &memory_mib.to_string(),
        "-smp",
        &cpus.to_string(),
        "-kernel",
        &format!("/proc/self/fd/{KERNEL_FD}"),
        "-initrd",
        &format!("/proc/self/fd/{INITRAMFS_FD}"),
        "-append",
        &kernel,
        "-chardev",
        "stdio,id=console,signal=off",
        "-serial",
        "chardev:console",
    ]
    .map(str::to_owned)
    .into()
}

/// How fast the processor's counter runs, which an emulated guest reads as it is. Found out in the guest it
/// would be wrong, or not found at all, whenever the host is busy.
fn pace() -> Option<String> {
    khz(&std::fs::read_to_string("/proc/cpuinfo").ok()?).map(|khz| {
        // The kernel's own measure of delays, at 250 ticks a second.
        format!(" tsc_early_khz={khz} lpj={}", khz * 4)
    })
}

/// The kernel derives `bogomips` from the counter, and unlike `cpu MHz` it does not change.
fn khz(cpuinfo: &str) -> Option<u64> {
    let line = cpuinfo.lines().find(|line| line.starts_with("bogomips"))?;
    let text = line.split_once(':')?.1.trim();
    let (whole, hundredths) = text.split_once('.')?;
    let hundredths = whole.parse::<u64>().ok()? * 100 + hundredths.parse::<u64>().ok()?;
    Some(hundredths * 5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counters_pace_is_what_the_kernel_counts_delays_by() {
        let told = "cpu MHz\t\t: 801.120\nbogomips\t: 5192.24\nbogomips\t: 1.00\n";
        assert_eq!(khz(told), Some(2_596_120));
        assert_eq!(khz("cpu MHz : 1.0\n"), None);
    }
}
