//! A place for one more stead on this machine: a port and ranges of addresses that nobody uses.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use anyhow::{Context, Result};

/// The API's usual port.
const PORT: u16 = 6443;
/// The pods' range is 10.N.0.0/16, the services' the next one.
const SECOND_OCTETS: std::ops::Range<u8> = 42..250;

/// Flags of `stead up`; as few as possible.
pub(super) fn flags(data: &Path) -> Result<Vec<String>> {
    let mut flags = Vec::new();
    if TcpListener::bind((Ipv4Addr::LOCALHOST, PORT)).is_err() {
        println!("port {PORT} is taken: another one");
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port is free")?;
        flags.push(format!("--listen={}", free.local_addr()?));
    }
    let routes = fs::read_to_string("/proc/net/route").context("cannot read the routes")?;
    // What an earlier start chose: running pods have addresses of it.
    let chosen = fs::read_to_string(data.join("pod-cidr")).ok().and_then(|cidr| second_octet(&cidr));
    let octet = match chosen {
        Some(octet) => octet,
        None => free_octet(&routes).context("all ranges 10.N.0.0/16 are in use")?,
    };
    if octet != SECOND_OCTETS.start {
        flags.push(format!("--pod-cidr=10.{octet}.0.0/16"));
        flags.push(format!("--service-cidr=10.{}.0.0/16", octet + 1));
    }
    Ok(flags)
}

fn second_octet(cidr: &str) -> Option<u8> {
    cidr.split('.').nth(1)?.parse().ok()
}

fn free_octet(routes: &str) -> Option<u8> {
    let used: Vec<(u32, u32)> = routes.lines().filter_map(route).collect();
    SECOND_OCTETS.step_by(2).find(|octet| {
        let (pods, mask) = (u32::from(Ipv4Addr::new(10, *octet, 0, 0)), 0xfffe_0000);
        !used.iter().any(|(to, route_mask)| (pods ^ to) & mask & route_mask == 0)
    })
}

/// Destination and mask of a line of /proc/net/route, save the default route's: hexadecimal numbers in the
/// machine's order of bytes.
fn route(line: &str) -> Option<(u32, u32)> {
    let mut words = line.split_whitespace();
    let number = |word: Option<&str>| {
        u32::from_str_radix(word?, 16).ok().map(|number| u32::from_be_bytes(number.to_ne_bytes()))
    };
    let (to, mask) = (number(words.nth(1))?, number(words.nth(5))?);
    (mask != 0).then_some((to, mask))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n";
    const DEFAULT: &str = "eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n";

    fn with(to: [u8; 4], mask: [u8; 4]) -> String {
        let hex = |address| format!("{:08X}", u32::from_ne_bytes(address));
        format!("{HEADER}{DEFAULT}br\t{}\t00000000\t0001\t0\t0\t0\t{}\t0\t0\t0\n", hex(to), hex(mask))
    }

    #[test]
    fn the_usual_ranges_are_taken_when_no_route_leads_there() {
        assert_eq!(free_octet(&format!("{HEADER}{DEFAULT}")), Some(42));
        assert_eq!(free_octet(&with([192, 168, 0, 0], [255, 255, 0, 0])), Some(42));
    }

    #[test]
    fn ranges_that_overlap_a_route_are_passed_over() {
        assert_eq!(free_octet(&with([10, 42, 0, 0], [255, 255, 0, 0])), Some(44));
        assert_eq!(free_octet(&with([10, 43, 7, 0], [255, 255, 255, 0])), Some(44));
        assert_eq!(free_octet(&with([10, 0, 0, 0], [255, 0, 0, 0])), None);
    }

    #[test]
    fn an_earlier_choice_is_read_back() {
        assert_eq!(second_octet("10.46.0.0/16"), Some(46));
        assert_eq!(second_octet(""), None);
    }
}
