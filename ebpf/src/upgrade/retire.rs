//! The end of taking over: what another layout has attached goes, once everything of it is served here.

use crate::attach::Hook;
use crate::clsact;
use crate::loader::Loaded;

use landfall_ebpf_abi::map;

/// An uplink that this build's programs are attached to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// Its name.
    pub interface: String,
    /// Its index.
    pub ifindex: u32,
    /// Where its ingress is.
    pub hook: Hook,
}

impl Loaded {
    /// Whether another layout's programs and maps are in force beside this one's.
    pub fn has_predecessors(&self) -> bool {
        !self.predecessors.is_empty()
    }

    /// Ends their time: what they have begun is carried over, their programs are detached and their pins removed. To be
    /// called when the tables are as they shall be and everything is attached.
    pub fn retire_predecessors(&mut self, served: &[Served]) {
        let filters: Vec<&str> = served
            .iter()
            .filter(|uplink| uplink.hook == Hook::Clsact)
            .filter(|uplink| !self.predecessors.has_links_on(uplink.ifindex))
            .map(|uplink| uplink.interface.as_str())
            .collect();
        self.predecessors.carry(&self.pins);
        self.predecessors.detach(|name| !is_egress(name));
        for interface in &filters {
            clsact::detach_other(interface, map::PROGRAM_TC_UPLINK);
        }
        // Where they came first they have begun flows until now.
        self.predecessors.carry(&self.pins);
        self.predecessors.detach(is_egress);
        for interface in &filters {
            clsact::detach_other(interface, map::PROGRAM_TC_RESTORE);
        }
        self.predecessors.remove();
    }
}

fn is_egress(link: &str) -> bool {
    link.ends_with(map::PROGRAM_TC_RESTORE)
}
