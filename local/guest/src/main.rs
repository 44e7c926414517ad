//! `init` of a sandbox's virtual machine.

fn main() {
    nightshift_guest::init::main();
}
