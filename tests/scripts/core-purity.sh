#!/usr/bin/env bash
# Checks that clippy rejects what the core must not use (sockets, files, clocks, threads, global randomness …), by adding
# such code to a copy of it.
#
#   tests/scripts/core-purity.sh
#
# Needs Rust with clippy. The last line is the verdict, "purity: N passed, N failed": a line passes if clippy rejects it.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1

# Always at the same place, since cargo would check and keep everything once more for each new path.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}/purity
copy=$CARGO_TARGET_DIR/copy
rm -rf "$copy"
mkdir -p "$copy"
cp -r Cargo.toml Cargo.lock clippy.toml src "$copy"
# The copy has only the library, and the manifest must not name other targets.
sed -i '/^\[\[/,$ { /^\[\[/,/^$/d }' "$copy/Cargo.toml"

planted=(
    'std::net::TcpStream::connect("127.0.0.1:1").is_ok()'
    'std::net::ToSocketAddrs::to_socket_addrs("localhost:1").is_ok()'
    'std::fs::read_to_string("/etc/hosts").is_ok()'
    'std::env::var_os("HOME").is_some()'
    'std::time::Instant::now().elapsed().is_zero()'
    'std::time::SystemTime::now().elapsed().is_ok()'
    'std::thread::spawn(|| ()).join().is_ok()'
    '*std::sync::Mutex::new(true).lock().unwrap_or_else(|held| held.into_inner())'
    'std::sync::atomic::AtomicBool::new(true).into_inner()'
    'fastrand::Rng::new().bool()'
    'fastrand::u32(..) > 0'
    '{ let _ = std::hash::RandomState::new(); true }'
    '{ println!(); true }'
    '{ log::info!("here"); true }'
    'std::process::id() > 0'
)
{
    for line in "${!planted[@]}"; do echo "pub fn planted_$line() -> bool { ${planted[$line]} }"; done
} >"$copy/src/core/planted.rs"
echo 'pub mod planted;' >>"$copy/src/core/mod.rs"
log=$(cd "$copy" && cargo clippy --quiet --locked --lib --message-format short 2>&1)
passed=0
failed=0
for line in "${!planted[@]}"; do
    if grep -q "^src/core/planted.rs:$((line + 1)):.*error.*disallowed" <<<"$log"; then
        passed=$((passed + 1))
    else
        echo "FAILED  clippy accepts in the core: ${planted[$line]}"
        failed=$((failed + 1))
    fi
done
[ $failed -eq 0 ] || tail -n 40 <<<"$log"
echo "purity: $passed passed, $failed failed"
[ $failed -eq 0 ]
