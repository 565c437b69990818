//! A range of IPv4 addresses, as `10.42.0.0/16`.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// A range of IPv4 addresses for pods: a network and the length of its prefix, in bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ipv4Cidr {
    network: Ipv4Addr,
    prefix_len: u8,
}

/// Text that is not a usable range of addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CidrError {
    /// Not of the form `a.b.c.d/n`.
    #[error("{text:?} is not a range of IPv4 addresses: write it like 10.42.0.0/16")]
    Malformed {
        /// What was given.
        text: String,
    },
    /// An address within the range instead of its first one.
    #[error("{text} has bits set after its prefix: write {network}/{prefix_len}")]
    HostBits {
        /// What was given.
        text: String,
        /// The first address of the range that was meant.
        network: Ipv4Addr,
        /// The prefix that was given.
        prefix_len: u8,
    },
    /// No room for a gateway and a pod, or most of the internet.
    #[error("{text} cannot hold pods: the prefix must be between /8 and /30")]
    Size {
        /// What was given.
        text: String,
    },
}

impl Ipv4Cidr {
    /// The first address, which no machine has.
    pub fn network(self) -> Ipv4Addr {
        self.network
    }

    /// The length of the prefix, in bits.
    pub fn prefix_len(self) -> u8 {
        self.prefix_len
    }

    /// The prefix as a mask.
    pub fn netmask(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(mask(self.prefix_len))
    }

    /// The bridge's own address: the first that a machine may have.
    pub fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network.to_bits() + 1)
    }

    /// The last address.
    pub fn broadcast(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network.to_bits() | !mask(self.prefix_len))
    }

    /// Whether the address is within the range.
    pub fn contains(self, ip: Ipv4Addr) -> bool {
        ip.to_bits() & mask(self.prefix_len) == self.network.to_bits()
    }

    /// Whether the two ranges share an address.
    pub fn overlaps(self, network: Ipv4Addr, prefix_len: u8) -> bool {
        let shorter = mask(prefix_len.min(self.prefix_len));
        network.to_bits() & shorter == self.network.to_bits() & shorter
    }

    /// How many pods fit: all but the network, the gateway and the broadcast address.
    pub fn capacity(self) -> u32 {
        (1u32 << (32 - self.prefix_len)) - 3
    }
}

/// The mask of a prefix, 0 to 32 bits long.
fn mask(prefix_len: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix_len)).unwrap_or(0)
}

impl FromStr for Ipv4Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Ipv4Cidr, CidrError> {
        let malformed = || CidrError::Malformed { text: text.into() };
        let (ip, prefix_len) = text.split_once('/').ok_or_else(malformed)?;
        let ip: Ipv4Addr = ip.parse().map_err(|_| malformed())?;
        let prefix_len: u8 = prefix_len.parse().map_err(|_| malformed())?;
        if prefix_len > 32 {
            return Err(malformed());
        }
        if !(8..=30).contains(&prefix_len) {
            return Err(CidrError::Size { text: text.into() });
        }
        let network = Ipv4Addr::from_bits(ip.to_bits() & mask(prefix_len));
        if network != ip {
            return Err(CidrError::HostBits { text: text.into(), network, prefix_len });
        }
        Ok(Ipv4Cidr { network, prefix_len })
    }
}

impl fmt::Display for Ipv4Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix_len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Ipv4Cidr {
        text.parse().unwrap()
    }

    #[test]
    fn a_range_knows_its_corners() {
        let pods = cidr("10.42.0.0/16");
        assert_eq!(pods.gateway(), Ipv4Addr::new(10, 42, 0, 1));
        assert_eq!(pods.broadcast(), Ipv4Addr::new(10, 42, 255, 255));
        assert_eq!(pods.netmask(), Ipv4Addr::new(255, 255, 0, 0));
        assert_eq!(pods.capacity(), 65_533);
        assert_eq!(cidr("198.18.0.4/30").capacity(), 1);
        assert!(pods.contains(Ipv4Addr::new(10, 42, 200, 7)));
        assert!(!pods.contains(Ipv4Addr::new(10, 43, 0, 1)));
    }

    #[test]
    fn ranges_overlap_when_one_holds_the_other() {
        let pods = cidr("10.42.0.0/16");
        assert!(pods.overlaps(Ipv4Addr::new(10, 0, 0, 0), 8));
        assert!(pods.overlaps(Ipv4Addr::new(10, 42, 7, 0), 24));
        assert!(pods.overlaps(Ipv4Addr::new(10, 42, 7, 1), 32));
        assert!(!pods.overlaps(Ipv4Addr::new(10, 43, 0, 0), 16));
    }

    #[test]
    fn unusable_text_is_refused_with_what_to_write() {
        let refusal = |text: &str| text.parse::<Ipv4Cidr>().unwrap_err().to_string();
        assert_eq!(
            refusal("10.42.0.0"),
            "\"10.42.0.0\" is not a range of IPv4 addresses: write it like 10.42.0.0/16"
        );
        assert_eq!(refusal("10.42.3.1/16"), "10.42.3.1/16 has bits set after its prefix: write 10.42.0.0/16");
        assert_eq!(
            refusal("10.42.0.0/31"),
            "10.42.0.0/31 cannot hold pods: the prefix must be between /8 and /30"
        );
        assert!(refusal("10.42.0.0/33").contains("write it like"));
    }
}
