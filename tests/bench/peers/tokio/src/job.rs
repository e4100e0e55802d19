use std::time::{Duration, Instant};

use openssl::sha::Sha256;

/// The milliseconds of `spin N`, N of one to nine digits.
fn spin_ms(line: &[u8]) -> Option<u64> {
    let digits = line.strip_prefix(b"spin ")?;
    if digits.is_empty() || digits.len() > 9 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The reply to the line, newline included.
pub fn run(line: &[u8]) -> Vec<u8> {
    if let Some(ms) = spin_ms(line) {
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(ms) {}
        return format!("result: spun {ms} ms\n").into_bytes();
    }
    // Not openssl::sha::sha256: OpenSSL 3 looks the algorithm up anew at each of its calls.
    let mut sha = Sha256::new();
    sha.update(line);
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut reply = Vec::with_capacity(73);
    reply.extend_from_slice(b"result: ");
    for byte in sha.finish() {
        reply.push(HEX[usize::from(byte >> 4)]);
        reply.push(HEX[usize::from(byte & 15)]);
    }
    reply.push(b'\n');
    reply
}
