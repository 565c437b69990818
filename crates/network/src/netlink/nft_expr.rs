//! What rules are made of: nf_tables' expressions, one after the other over 16 registers of four bytes.

use std::net::Ipv4Addr;

use super::Message;
use super::nft::{NFPROTO_IPV4, NFTA_DATA_VALUE, NFTA_DATA_VERDICT, NFTA_VERDICT_CHAIN, NFTA_VERDICT_CODE};

const NFTA_LIST_ELEM: u16 = 1;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;

const NFT_REG_VERDICT: u32 = 0;
const NFT_REG32_00: u32 = 8;
const NFT_META_IIFNAME: u32 = 6;
const NFT_META_OIFNAME: u32 = 7;
const NFT_META_L4PROTO: u32 = 16;
const NFT_CT_STATE: u32 = 0;
const NFT_CT_STATUS: u32 = 2;
const NFT_CMP_EQ: u32 = 0;
const NFT_CMP_NEQ: u32 = 1;
const NFT_PAYLOAD_NETWORK_HEADER: u32 = 1;
const NFT_PAYLOAD_TRANSPORT_HEADER: u32 = 2;
const NFT_NG_RANDOM: u32 = 1;
const NFT_DYNSET_OP_UPDATE: u32 = 1;
const NFT_DYNSET_OP_DELETE: u32 = 2;
const NFT_FIB_RESULT_ADDRTYPE: u32 = 3;
const NFTA_FIB_F_DADDR: u32 = 2;
const RTN_LOCAL: u32 = 2;
const NFT_NAT_DNAT: u32 = 1;
const NFT_REJECT_ICMP_UNREACH: u32 = 0;
const ICMP_PORT_UNREACH: u8 = 3;
const NF_DROP: u32 = 0;
const NF_ACCEPT: u32 = 1;
/// -4.
const NFT_GOTO: u32 = 0xffff_fffc;
const IFNAMSIZ: usize = 16;

/// `NF_CT_STATE_BIT(IP_CT_NEW)`.
pub(crate) const CT_STATE_NEW: u32 = 8;
/// `IPS_DST_NAT`.
pub(crate) const CT_STATUS_DNAT: u32 = 1 << 5;

/// A field of the IPv4 header: where it begins.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub(crate) enum Ipv4Field {
    Source = 12,
    Destination = 16,
}

/// Whether a comparison must or must not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Is {
    Equal = NFT_CMP_EQ,
    NotEqual = NFT_CMP_NEQ,
}

/// What a rule or a map's element decides.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Verdict<'a> {
    Accept,
    Drop,
    Goto(&'a str),
}

impl Verdict<'_> {
    pub(super) fn put(self, data: Message) -> Message {
        data.nest(NFTA_DATA_VERDICT, |verdict| match self {
            Verdict::Accept => verdict.be32(NFTA_VERDICT_CODE, NF_ACCEPT),
            Verdict::Drop => verdict.be32(NFTA_VERDICT_CODE, NF_DROP),
            Verdict::Goto(chain) => {
                verdict.be32(NFTA_VERDICT_CODE, NFT_GOTO).string(NFTA_VERDICT_CHAIN, chain)
            }
        })
    }
}

/// The expressions of a rule, in the order in which the kernel runs them. Registers are counted from 0.
pub(crate) struct Expressions(pub(super) Message);

impl Expressions {
    fn expr(self, name: &str, fill: impl FnOnce(Message) -> Message) -> Expressions {
        Expressions(
            self.0.nest(NFTA_LIST_ELEM, |expr| expr.string(NFTA_EXPR_NAME, name).nest(NFTA_EXPR_DATA, fill)),
        )
    }

    fn meta(self, key: u32, register: u32) -> Expressions {
        self.expr("meta", |data| data.be32(1, NFT_REG32_00 + register).be32(2, key))
    }

    fn cmp(self, register: u32, is: Is, value: &[u8]) -> Expressions {
        self.expr("cmp", |data| {
            data.be32(1, NFT_REG32_00 + register)
                .be32(2, is as u32)
                .nest(3, |operand| operand.attr(NFTA_DATA_VALUE, value))
        })
    }

    fn and(self, register: u32, mask: [u8; 4]) -> Expressions {
        self.expr("bitwise", |data| {
            data.be32(1, NFT_REG32_00 + register)
                .be32(2, NFT_REG32_00 + register)
                .be32(3, 4)
                .nest(4, |operand| operand.attr(NFTA_DATA_VALUE, &mask))
                .nest(5, |operand| operand.attr(NFTA_DATA_VALUE, &[0; 4]))
        })
    }

    fn payload(self, base: u32, offset: u32, len: u32, register: u32) -> Expressions {
        self.expr("payload", |data| {
            data.be32(1, NFT_REG32_00 + register).be32(2, base).be32(3, offset).be32(4, len)
        })
    }

    /// Goes on only for packets from (or not from) this interface.
    pub(crate) fn input_interface(self, is: Is, name: &str) -> Expressions {
        self.meta(NFT_META_IIFNAME, 0).cmp(0, is, &interface_name(name))
    }

    /// Goes on only for packets to (or not to) this interface.
    pub(crate) fn output_interface(self, is: Is, name: &str) -> Expressions {
        self.meta(NFT_META_OIFNAME, 0).cmp(0, is, &interface_name(name))
    }

    /// Goes on only when the address is (or is not) in the range.
    pub(crate) fn ipv4_in(self, field: Ipv4Field, is: Is, network: Ipv4Addr, mask: Ipv4Addr) -> Expressions {
        self.load_ipv4(field, 0).and(0, mask.octets()).cmp(0, is, &network.octets())
    }

    /// Goes on only when the connection has (or has none of) these state bits.
    pub(crate) fn ct_state(self, is: Is, bits: u32) -> Expressions {
        self.ct(NFT_CT_STATE, is, bits)
    }

    /// Goes on only when the connection has (or has none of) these status bits.
    pub(crate) fn ct_status(self, is: Is, bits: u32) -> Expressions {
        self.ct(NFT_CT_STATUS, is, bits)
    }

    /// `Is::Equal`: any of the bits; `Is::NotEqual`: none of them.
    fn ct(self, key: u32, is: Is, bits: u32) -> Expressions {
        let against_zero = if is == Is::Equal { Is::NotEqual } else { Is::Equal };
        self.expr("ct", |data| data.be32(1, NFT_REG32_00).be32(2, key)).and(0, bits.to_ne_bytes()).cmp(
            0,
            against_zero,
            &[0; 4],
        )
    }

    /// Puts an address into a register.
    pub(crate) fn load_ipv4(self, field: Ipv4Field, register: u32) -> Expressions {
        self.payload(NFT_PAYLOAD_NETWORK_HEADER, field as u32, 4, register)
    }

    /// Puts the transport protocol into a register.
    pub(crate) fn load_protocol(self, register: u32) -> Expressions {
        self.meta(NFT_META_L4PROTO, register)
    }

    /// Puts the destination port into a register.
    pub(crate) fn load_destination_port(self, register: u32) -> Expressions {
        self.payload(NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, register)
    }

    /// Puts a random number below `modulus` into a register.
    pub(crate) fn load_random(self, modulus: u32, register: u32) -> Expressions {
        self.expr("numgen", |data| {
            data.be32(1, NFT_REG32_00 + register).be32(2, modulus).be32(3, NFT_NG_RANDOM)
        })
    }

    /// Goes on only when the key that begins at register 0 is in the set.
    pub(crate) fn in_set(self, set: &str) -> Expressions {
        self.expr("lookup", |data| data.string(1, set).be32(2, NFT_REG32_00))
    }

    /// Replaces the registers from `to` on by what the map has for the key that begins at register 0.
    pub(crate) fn map_to_register(self, map: &str, to: u32) -> Expressions {
        self.expr("lookup", |data| data.string(1, map).be32(2, NFT_REG32_00).be32(3, NFT_REG32_00 + to))
    }

    /// Does what the map has for the key that begins at register 0.
    pub(crate) fn map_to_verdict(self, map: &str) -> Expressions {
        self.expr("lookup", |data| data.string(1, map).be32(2, NFT_REG32_00).be32(3, NFT_REG_VERDICT))
    }

    /// Puts a constant of four bytes into a register.
    pub(crate) fn load_constant(self, value: [u8; 4], register: u32) -> Expressions {
        self.expr("immediate", |data| {
            data.be32(1, NFT_REG32_00 + register).nest(2, |operand| operand.attr(NFTA_DATA_VALUE, &value))
        })
    }

    /// Goes on only for packets to an address of this host.
    pub(crate) fn destined_for_this_host(self) -> Expressions {
        self.expr("fib", |data| {
            data.be32(1, NFT_REG32_00).be32(2, NFT_FIB_RESULT_ADDRTYPE).be32(3, NFTA_FIB_F_DADDR)
        })
        .cmp(0, Is::Equal, &RTN_LOCAL.to_ne_bytes())
    }

    /// Notes in a map, for so many seconds from now on, that the key that begins at register 0 leads to what
    /// is in the registers from `data` on. A key that is there keeps its value. Goes on only when there was
    /// room.
    pub(crate) fn remember(self, map: &str, data: u32, seconds: u32) -> Expressions {
        self.expr("dynset", |expr| {
            expr.string(1, map)
                .be32(3, NFT_DYNSET_OP_UPDATE)
                .be32(4, NFT_REG32_00)
                .be32(5, NFT_REG32_00 + data)
                .be64(6, u64::from(seconds) * 1000)
        })
    }

    /// Takes the key that begins at register 0 out of a map. The kernel wants to be told registers for a
    /// value here too.
    pub(crate) fn forget(self, map: &str, data: u32) -> Expressions {
        self.expr("dynset", |expr| {
            expr.string(1, map)
                .be32(3, NFT_DYNSET_OP_DELETE)
                .be32(4, NFT_REG32_00)
                .be32(5, NFT_REG32_00 + data)
        })
    }

    /// Sends the connection to the address and port in two registers.
    pub(crate) fn dnat(self, address: u32, port: u32) -> Expressions {
        self.expr("nat", |data| {
            data.be32(1, NFT_NAT_DNAT)
                .be32(2, u32::from(NFPROTO_IPV4))
                .be32(3, NFT_REG32_00 + address)
                .be32(5, NFT_REG32_00 + port)
        })
    }

    /// Gives the connection the source address of the interface that it leaves by.
    pub(crate) fn masquerade(self) -> Expressions {
        self.expr("masq", |data| data)
    }

    /// Answers that nobody listens: a connect sees `connection refused`.
    pub(crate) fn reject(self) -> Expressions {
        self.expr("reject", |data| data.be32(1, NFT_REJECT_ICMP_UNREACH).u8(2, ICMP_PORT_UNREACH))
    }

    pub(crate) fn counter(self) -> Expressions {
        self.expr("counter", |data| data)
    }

    pub(crate) fn verdict(self, verdict: Verdict<'_>) -> Expressions {
        self.expr("immediate", |data| data.be32(1, NFT_REG_VERDICT).nest(2, |value| verdict.put(value)))
    }
}

fn interface_name(name: &str) -> [u8; IFNAMSIZ] {
    let mut padded = [0; IFNAMSIZ];
    padded[..name.len()].copy_from_slice(name.as_bytes());
    padded
}
