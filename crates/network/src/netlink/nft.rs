//! nf_tables: tables, chains, rules and elements as messages (include/uapi/linux/netfilter/nf_tables.h).

use rustix::io::Errno;

use super::message::{NLM_F_APPEND, NLM_F_CREATE};
use super::socket::Notice;
use super::{Attributes, Message, NetlinkError, Socket};

const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NFNL_MSG_BATCH_BEGIN: u16 = 0x10;
const NFNL_MSG_BATCH_END: u16 = 0x11;
const NFPROTO_UNSPEC: u8 = 0;
pub(crate) const NFPROTO_INET: u8 = 1;
pub(crate) const NFPROTO_IPV4: u8 = 2;

const NFT_MSG_NEWTABLE: u16 = 0;
const NFT_MSG_DELTABLE: u16 = 2;
const NFT_MSG_NEWCHAIN: u16 = 3;
const NFT_MSG_GETCHAIN: u16 = 4;
const NFT_MSG_NEWRULE: u16 = 6;
const NFT_MSG_GETRULE: u16 = 7;
const NFT_MSG_DELRULE: u16 = 8;
const NFT_MSG_NEWSET: u16 = 9;
const NFT_MSG_NEWSETELEM: u16 = 12;
const NFT_MSG_GETSETELEM: u16 = 13;
const NFT_MSG_DELSETELEM: u16 = 14;

const NFTA_LIST_ELEM: u16 = 1;
const NFTA_TABLE_NAME: u16 = 1;
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_CHAIN_TYPE: u16 = 7;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_HOOK_PRIORITY: u16 = 2;
const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_HANDLE: u16 = 3;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_RULE_USERDATA: u16 = 7;
const NFTA_SET_TABLE: u16 = 1;
const NFTA_SET_NAME: u16 = 2;
const NFTA_SET_FLAGS: u16 = 3;
const NFTA_SET_KEY_TYPE: u16 = 4;
const NFTA_SET_KEY_LEN: u16 = 5;
const NFTA_SET_DATA_TYPE: u16 = 6;
const NFTA_SET_DATA_LEN: u16 = 7;
const NFTA_SET_DESC: u16 = 9;
const NFTA_SET_ID: u16 = 10;
const NFTA_SET_DESC_SIZE: u16 = 1;
const NFTA_SET_ELEM_KEY: u16 = 1;
const NFTA_SET_ELEM_DATA: u16 = 2;
const NFTA_SET_ELEM_LIST_TABLE: u16 = 1;
const NFTA_SET_ELEM_LIST_SET: u16 = 2;
const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
pub(super) const NFTA_DATA_VALUE: u16 = 1;
pub(super) const NFTA_DATA_VERDICT: u16 = 2;
pub(super) const NFTA_VERDICT_CODE: u16 = 1;
pub(super) const NFTA_VERDICT_CHAIN: u16 = 2;

const NFT_SET_MAP: u32 = 0x8;
const NFT_SET_TIMEOUT: u32 = 0x10;
const NFT_SET_EVAL: u32 = 0x20;
const NFT_DATA_VERDICT: u32 = 0xffff_ff00;
const NF_DROP: u32 = 0;
/// The tag of a comment within a rule's user data, as the `nft` tool reads it.
const UDATA_RULE_COMMENT: u8 = 0;
/// Elements per message: an attribute is shorter than 64 KiB.
const ELEMENTS_PER_MESSAGE: usize = 400;
/// How the names of the tables of all instances begin: they leave each other alone.
const OUR_TABLES: &str = "stead-";

pub(crate) use super::nft_expr::{Expressions, Verdict};

/// Where a base chain is called from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Hook {
    Prerouting = 0,
    Input = 1,
    Forward = 2,
    Output = 3,
    Postrouting = 4,
}

/// A base chain: its name, what it may do, and where and when it is called.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BaseChain<'a> {
    pub(crate) name: &'a str,
    /// `filter` or `nat`.
    pub(crate) kind: &'a str,
    pub(crate) hook: Hook,
    pub(crate) priority: i32,
}

/// A set, or a map when it has data.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SetSpec<'a> {
    pub(crate) name: &'a str,
    /// Unique among the sets that one transaction makes.
    pub(crate) id: u32,
    /// The type as the `nft` tool shows it, and the length in bytes.
    pub(crate) key: (u32, u32),
    pub(crate) data: Option<DataSpec>,
    /// The most elements that packets themselves may add, each for a while; `None`: they add none.
    pub(crate) learns: Option<u32>,
}

/// What a map's elements lead to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum DataSpec {
    Verdict,
    /// The type as the `nft` tool shows it, and the length in bytes.
    Value(u32, u32),
}

/// An element of a set or map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Element {
    pub(crate) key: Vec<u8>,
    pub(crate) data: Option<ElementData>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ElementData {
    Value(Vec<u8>),
    /// Go on in this chain, and do not come back.
    Goto(String),
    /// The packet is nobody's.
    Drop,
}

/// A table of one family; what it makes are messages for [`commit`].
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) family: u8,
    pub(crate) name: String,
}

impl Table {
    fn message(&self, kind: u16, flags: u16) -> Message {
        message(kind, flags, self.family)
    }

    pub(crate) fn add(&self) -> Message {
        self.message(NFT_MSG_NEWTABLE, NLM_F_CREATE).string(NFTA_TABLE_NAME, &self.name)
    }

    pub(crate) fn delete(&self) -> Message {
        self.message(NFT_MSG_DELTABLE, 0).string(NFTA_TABLE_NAME, &self.name)
    }

    pub(crate) fn add_base_chain(&self, chain: BaseChain<'_>) -> Message {
        self.add_chain(chain.name)
            .nest(NFTA_CHAIN_HOOK, |hook| {
                hook.be32(NFTA_HOOK_HOOKNUM, chain.hook as u32)
                    .attr(NFTA_HOOK_PRIORITY, &chain.priority.to_be_bytes())
            })
            .string(NFTA_CHAIN_TYPE, chain.kind)
    }

    pub(crate) fn add_chain(&self, name: &str) -> Message {
        self.message(NFT_MSG_NEWCHAIN, NLM_F_CREATE)
            .string(NFTA_CHAIN_TABLE, &self.name)
            .string(NFTA_CHAIN_NAME, name)
    }

    /// Removes all rules of the chain.
    pub(crate) fn flush_chain(&self, chain: &str) -> Message {
        self.message(NFT_MSG_DELRULE, 0).string(NFTA_RULE_TABLE, &self.name).string(NFTA_RULE_CHAIN, chain)
    }

    pub(crate) fn delete_rule(&self, chain: &str, handle: u64) -> Message {
        self.flush_chain(chain).be64(NFTA_RULE_HANDLE, handle)
    }

    /// Adds a rule after the chain's others.
    pub(crate) fn append_rule(
        &self,
        chain: &str,
        comment: &str,
        fill: impl FnOnce(Expressions) -> Expressions,
    ) -> Message {
        self.rule(NLM_F_CREATE | NLM_F_APPEND, chain, comment, fill)
    }

    /// Adds a rule before the chain's others.
    pub(crate) fn insert_rule(
        &self,
        chain: &str,
        comment: &str,
        fill: impl FnOnce(Expressions) -> Expressions,
    ) -> Message {
        self.rule(NLM_F_CREATE, chain, comment, fill)
    }

    fn rule(
        &self,
        flags: u16,
        chain: &str,
        comment: &str,
        fill: impl FnOnce(Expressions) -> Expressions,
    ) -> Message {
        self.message(NFT_MSG_NEWRULE, flags)
            .string(NFTA_RULE_TABLE, &self.name)
            .string(NFTA_RULE_CHAIN, chain)
            .nest(NFTA_RULE_EXPRESSIONS, |list| fill(Expressions(list)).0)
            .attr(NFTA_RULE_USERDATA, &comment_data(comment))
    }

    pub(crate) fn add_set(&self, set: &SetSpec<'_>) -> Message {
        let kind = if set.data.is_some() { NFT_SET_MAP } else { 0 };
        let learning = if set.learns.is_some() { NFT_SET_TIMEOUT | NFT_SET_EVAL } else { 0 };
        let message = self
            .message(NFT_MSG_NEWSET, NLM_F_CREATE)
            .string(NFTA_SET_TABLE, &self.name)
            .string(NFTA_SET_NAME, set.name)
            .be32(NFTA_SET_FLAGS, kind | learning)
            .be32(NFTA_SET_KEY_TYPE, set.key.0)
            .be32(NFTA_SET_KEY_LEN, set.key.1)
            .be32(NFTA_SET_ID, set.id);
        let message = match set.learns {
            Some(size) => message.nest(NFTA_SET_DESC, |desc| desc.be32(NFTA_SET_DESC_SIZE, size)),
            None => message,
        };
        match set.data {
            None => message,
            Some(DataSpec::Verdict) => message.be32(NFTA_SET_DATA_TYPE, NFT_DATA_VERDICT),
            Some(DataSpec::Value(kind, len)) => {
                message.be32(NFTA_SET_DATA_TYPE, kind).be32(NFTA_SET_DATA_LEN, len)
            }
        }
    }

    pub(crate) fn add_elements(&self, set: &str, elements: &[Element]) -> Vec<Message> {
        self.elements(NFT_MSG_NEWSETELEM, NLM_F_CREATE, set, elements)
    }

    pub(crate) fn delete_elements(&self, set: &str, elements: &[Element]) -> Vec<Message> {
        self.elements(NFT_MSG_DELSETELEM, 0, set, elements)
    }

    fn elements(&self, kind: u16, flags: u16, set: &str, elements: &[Element]) -> Vec<Message> {
        elements
            .chunks(ELEMENTS_PER_MESSAGE)
            .map(|chunk| {
                self.element_list(kind, flags, set).nest(NFTA_SET_ELEM_LIST_ELEMENTS, |list| {
                    chunk.iter().fold(list, |list, element| list.nest(NFTA_LIST_ELEM, |one| element.put(one)))
                })
            })
            .collect()
    }

    fn element_list(&self, kind: u16, flags: u16, set: &str) -> Message {
        self.message(kind, flags)
            .string(NFTA_SET_ELEM_LIST_TABLE, &self.name)
            .string(NFTA_SET_ELEM_LIST_SET, set)
    }

    /// The elements of a set or map.
    pub(crate) fn list_elements(&self, socket: &mut Socket, set: &str) -> Result<Vec<Element>, NetlinkError> {
        let request = self.element_list(NFT_MSG_GETSETELEM, 0, set);
        let bodies = socket.dump("cannot list elements of an nf_tables set", &request)?;
        let lists = bodies.iter().filter_map(|body| body.get(4..));
        Ok(lists
            .flat_map(|body| Attributes(body).nested(NFTA_SET_ELEM_LIST_ELEMENTS))
            .filter_map(|(_, element)| Element::parse(Attributes(element)))
            .collect())
    }

    /// The handles of the chain's rules that carry this comment.
    pub(crate) fn rules_with_comment(
        &self,
        socket: &mut Socket,
        chain: &str,
        comment: &str,
    ) -> Result<Vec<u64>, NetlinkError> {
        let request = self
            .message(NFT_MSG_GETRULE, 0)
            .string(NFTA_RULE_TABLE, &self.name)
            .string(NFTA_RULE_CHAIN, chain);
        let bodies = socket.dump("cannot list nf_tables rules", &request)?;
        let wanted = comment_data(comment);
        Ok(bodies
            .iter()
            .filter_map(|body| body.get(4..).map(Attributes))
            .filter(|rule| rule.string(NFTA_RULE_TABLE).as_deref() == Some(&self.name))
            .filter(|rule| rule.string(NFTA_RULE_CHAIN).as_deref() == Some(chain))
            .filter(|rule| rule.find(NFTA_RULE_USERDATA) == Some(&wanted[..]))
            .filter_map(|rule| rule.be64(NFTA_RULE_HANDLE))
            .collect())
    }
}

impl Element {
    fn put(&self, message: Message) -> Message {
        let message = message.nest(NFTA_SET_ELEM_KEY, |key| key.attr(NFTA_DATA_VALUE, &self.key));
        match &self.data {
            None => message,
            Some(ElementData::Value(value)) => {
                message.nest(NFTA_SET_ELEM_DATA, |data| data.attr(NFTA_DATA_VALUE, value))
            }
            Some(ElementData::Goto(chain)) => {
                message.nest(NFTA_SET_ELEM_DATA, |data| Verdict::Goto(chain).put(data))
            }
            Some(ElementData::Drop) => message.nest(NFTA_SET_ELEM_DATA, |data| Verdict::Drop.put(data)),
        }
    }

    fn parse(attributes: Attributes<'_>) -> Option<Element> {
        let key = attributes.nested(NFTA_SET_ELEM_KEY).find(NFTA_DATA_VALUE)?.to_vec();
        let data = attributes.nested(NFTA_SET_ELEM_DATA);
        let decides = data.nested(NFTA_DATA_VERDICT);
        let drops = || (decides.be32(NFTA_VERDICT_CODE) == Some(NF_DROP)).then_some(ElementData::Drop);
        let verdict = decides.string(NFTA_VERDICT_CHAIN).map(ElementData::Goto).or_else(drops);
        let value = || data.find(NFTA_DATA_VALUE).map(|value| ElementData::Value(value.to_vec()));
        Some(Element { key, data: verdict.or_else(value) })
    }
}

/// Somebody's base chain at the forward hook.
#[derive(Clone, Debug)]
pub(crate) struct ForwardChain {
    pub(crate) table: Table,
    pub(crate) name: String,
    /// Whether it drops what no rule accepts, as Docker's and some firewalls' do.
    pub(crate) drops: bool,
}

/// Makes the base chain drop what no rule accepts.
#[cfg(test)]
pub(crate) fn set_policy_drop(chain: Message) -> Message {
    chain.be32(NFTA_CHAIN_POLICY, NF_DROP)
}

/// All chains that forwarded IPv4 traffic goes through.
pub(crate) fn forward_chains(socket: &mut Socket) -> Result<Vec<ForwardChain>, NetlinkError> {
    let request = message(NFT_MSG_GETCHAIN, 0, NFPROTO_UNSPEC);
    let bodies = socket.dump("cannot list nf_tables chains", &request)?;
    Ok(bodies
        .iter()
        .filter_map(|body| {
            let family = *body.first()?;
            let chain = Attributes(body.get(4..)?);
            let hook = chain.nested(NFTA_CHAIN_HOOK).be32(NFTA_HOOK_HOOKNUM)?;
            let sees_ipv4 = matches!(family, NFPROTO_IPV4 | NFPROTO_INET);
            (hook == Hook::Forward as u32 && sees_ipv4).then_some(ForwardChain {
                table: Table { family, name: chain.string(NFTA_CHAIN_TABLE)? },
                name: chain.string(NFTA_CHAIN_NAME)?,
                drops: chain.be32(NFTA_CHAIN_POLICY) == Some(NF_DROP),
            })
        })
        .collect())
}

/// Carries the messages out together, or none of them.
pub(crate) fn commit(socket: &mut Socket, messages: Vec<Message>) -> Result<(), Errno> {
    if messages.is_empty() {
        return Ok(());
    }
    let fence = |kind| Message::new(kind, 0, &header(NFPROTO_UNSPEC, NFNL_SUBSYS_NFTABLES));
    socket.transaction(fence(NFNL_MSG_BATCH_BEGIN), messages, fence(NFNL_MSG_BATCH_END))
}

fn message(kind: u16, flags: u16, family: u8) -> Message {
    Message::new(NFNL_SUBSYS_NFTABLES << 8 | kind, flags, &header(family, 0))
}

/// `struct nfgenmsg`.
fn header(family: u8, resource: u16) -> [u8; 4] {
    let [high, low] = resource.to_be_bytes();
    [family, 0, high, low]
}

fn comment_data(comment: &str) -> Vec<u8> {
    let len = u8::try_from(comment.len() + 1).expect("comments are short");
    let mut data = vec![UDATA_RULE_COMMENT, len];
    data.extend_from_slice(comment.as_bytes());
    data.push(0);
    data
}

/// Reads what the kernel tells of changes, and says which concern a table.
pub(crate) struct Notices {
    table: String,
    own_port: u32,
}

impl Notices {
    /// About `table`, but not what the socket of that port does.
    pub(crate) fn new(table: &str, own_port: u32) -> Notices {
        Notices { table: table.to_owned(), own_port }
    }

    /// Whether the next datagram tells of a change that others made and that concerns the table: one of its
    /// own, or of somebody's chains and rules, which may drop what is forwarded.
    pub(crate) fn read(&self, socket: &mut Socket) -> Result<bool, Errno> {
        let mut concerns = false;
        socket.notices(|notice| concerns |= notice.port != self.own_port && self.is_about(&notice))?;
        Ok(concerns)
    }

    fn is_about(&self, notice: &Notice<'_>) -> bool {
        if notice.kind >> 8 != NFNL_SUBSYS_NFTABLES {
            return false;
        }
        // Every message about something inside a table begins with the table's name.
        let table = notice.body.get(4..).and_then(|body| Attributes(body).string(NFTA_TABLE_NAME));
        let of_chains = matches!(notice.kind & 0xff, NFT_MSG_NEWCHAIN | NFT_MSG_DELRULE | NFT_MSG_NEWRULE);
        table.is_some_and(|table| table == self.table || (of_chains && !table.starts_with(OUR_TABLES)))
    }
}
