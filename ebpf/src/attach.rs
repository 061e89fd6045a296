//! Attaching programs by pinned links, which outlive the daemon and are updated in place by its successor. At tc, one of
//! another layout attaches its own beside them, until it has taken over.
//!
//! An uplink gets an ingress program at the best hook that takes it, and the restoring program at its egress. Where the
//! kernel has no links for tc (before 6.6) filters in clsact do it.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;

use aya::programs::links::{CgroupAttachMode, FdLink, LinkError, PinnedLink};
use aya::programs::tc::TcAttachOptions;
use aya::programs::{
    CgroupSockAddr, LinkOrder, ProgramError, SchedClassifier, TcAttachType, Xdp, XdpMode,
};
use aya::util::KernelVersion;
use landfall_ebpf_abi::map;
use tracing::warn;

use crate::loader::Loaded;
use crate::{clsact, link};

/// Where an ingress program may be attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// In the driver, before a buffer is made.
    XdpNative,
    /// Before the stack, with a buffer already made.
    XdpGeneric,
    /// tc by multi-program links, Linux 6.6.
    Tcx,
    /// tc by the clsact qdisc.
    Clsact,
}

impl Hook {
    /// The name that settings and status use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::XdpNative => "xdp",
            Self::XdpGeneric => "xdp-generic",
            Self::Tcx => "tcx",
            Self::Clsact => "clsact",
        }
    }

    /// The best way to tc of this kernel.
    fn tc() -> Self {
        if has_tcx() { Self::Tcx } else { Self::Clsact }
    }

    /// The way to tc beside a program at this hook: an uplink whose ingress is in clsact has its egress there too.
    fn beside(self) -> Self {
        match self {
            Self::XdpNative | Self::XdpGeneric => Self::tc(),
            Self::Tcx | Self::Clsact => self,
        }
    }
}

/// Why a program could not be attached.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The kernel or the driver refused it.
    #[error("{hook} refused the program on {target}")]
    Refused {
        /// The hook.
        hook: &'static str,
        /// The interface or cgroup.
        target: String,
        /// The reason.
        #[source]
        source: Box<ProgramError>,
    },
    /// The link could not be pinned, taken over or removed.
    #[error("link {name} cannot be pinned or taken over")]
    Link {
        /// Name of the pin.
        name: String,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// The cgroup cannot be opened.
    #[error(
        "cgroup {path} cannot be opened; set datapath.cgroup_root to a cgroup v2 directory that holds the pods"
    )]
    Cgroup {
        /// Its directory.
        path: String,
        /// The reason.
        #[source]
        source: io::Error,
    },
}

impl Loaded {
    /// Hooks worth trying for an interface of this driver, best first. veth hands XDP packets whose checksums its peer may
    /// have left half made, so tcx, which sees the mark, is the safe choice there.
    pub fn hooks(driver: &str) -> Vec<Hook> {
        let tc = Hook::tc();
        match driver {
            "veth" | "bridge" | "tun" | "802.1Q VLAN Support" => vec![tc],
            _ => vec![Hook::XdpNative, tc],
        }
    }

    /// Attaches ingress and egress to an uplink with the first hook that takes the program. A link of an earlier daemon at
    /// the same hook is updated in place: not a packet passes in between.
    ///
    /// # Errors
    /// [`AttachError`] of the last hook tried; an attachment that stood before stands.
    pub fn attach_uplink(
        &mut self,
        interface: &str,
        ifindex: u32,
        hooks: &[Hook],
    ) -> Result<Hook, AttachError> {
        // The less time between what is carried over and the new programs, the less is begun in it.
        self.predecessors.carry(&self.pins);
        let mut last = None;
        for hook in hooks {
            match self.attach_both(interface, ifindex, *hook) {
                Ok(()) => {
                    self.detach_others(interface, ifindex, *hook);
                    return Ok(*hook);
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.expect("at least one hook is tried"))
    }

    /// Attaches ingress at tc behind an uplink's XDP program: source translation needs it where a neighbour's Ethernet
    /// address is not known yet.
    ///
    /// # Errors
    /// [`AttachError`]
    pub fn attach_behind(&mut self, interface: &str, ifindex: u32) -> Result<(), AttachError> {
        self.attach_tc(
            Hook::tc(),
            map::PROGRAM_TC_UPLINK,
            interface,
            ifindex,
            TcAttachType::Ingress,
        )
    }

    /// Egress first: no packet shall be translated whose answer is not.
    fn attach_both(
        &mut self,
        interface: &str,
        ifindex: u32,
        hook: Hook,
    ) -> Result<(), AttachError> {
        self.attach_tc(
            hook.beside(),
            map::PROGRAM_TC_RESTORE,
            interface,
            ifindex,
            TcAttachType::Egress,
        )?;
        self.attach_ingress(interface, ifindex, hook)
    }

    fn attach_ingress(
        &mut self,
        interface: &str,
        ifindex: u32,
        hook: Hook,
    ) -> Result<(), AttachError> {
        match hook {
            Hook::XdpNative => self.attach_xdp(interface, ifindex, hook, XdpMode::Driver),
            Hook::XdpGeneric => self.attach_xdp(interface, ifindex, hook, XdpMode::Skb),
            Hook::Tcx | Hook::Clsact => self.attach_tc(
                hook,
                map::PROGRAM_TC_UPLINK,
                interface,
                ifindex,
                TcAttachType::Ingress,
            ),
        }
    }

    fn attach_xdp(
        &mut self,
        interface: &str,
        ifindex: u32,
        hook: Hook,
        mode: XdpMode,
    ) -> Result<(), AttachError> {
        let name = link_name(ifindex, hook.name());
        for kind in [Hook::XdpNative, Hook::XdpGeneric] {
            self.adopt(&link_name(ifindex, kind.name()));
        }
        let pinned = self.pinned(&name)?;
        let program: &mut Xdp = self.program(map::PROGRAM_XDP_UPLINK);
        let refused = |source| AttachError::Refused {
            hook: hook.name(),
            target: interface.to_owned(),
            source: Box::new(source),
        };
        if let Some(old) = pinned {
            if let Ok(link) = FdLink::from(old).try_into()
                && let Ok(id) = program.attach_to_link(link)
            {
                // The pin still holds the link; this handle may go.
                drop(program.take_link(id));
                return Ok(());
            }
            self.unpin(&name);
        }
        // An interface takes one of the two kinds of XDP at a time.
        for other in [Hook::XdpNative, Hook::XdpGeneric] {
            if other != hook {
                self.unpin(&link_name(ifindex, other.name()));
            }
        }
        let program: &mut Xdp = self.program(map::PROGRAM_XDP_UPLINK);
        let id = program.attach_to_if_index(ifindex, mode).map_err(refused)?;
        let link = program.take_link(id).map_err(refused)?;
        let link = FdLink::try_from(link).map_err(|error| link_error(&name, error))?;
        self.pin(link, &name)
    }

    fn attach_tc(
        &mut self,
        hook: Hook,
        program: &'static str,
        interface: &str,
        ifindex: u32,
        direction: TcAttachType,
    ) -> Result<(), AttachError> {
        let refused = |source| AttachError::Refused {
            hook: hook.name(),
            target: interface.to_owned(),
            source: Box::new(source),
        };
        if hook == Hook::Clsact {
            return clsact::attach(self.program(program), interface, direction).map_err(refused);
        }
        let name = link_name(ifindex, program);
        let pinned = self.pinned(&name)?;
        let classifier: &mut SchedClassifier = self.program(program);
        if let Some(old) = pinned {
            if let Ok(link) = FdLink::from(old).try_into()
                && let Ok(id) = classifier.attach_to_link(link)
            {
                drop(classifier.take_link(id));
                return Ok(());
            }
            self.unpin(&name);
        }
        let classifier: &mut SchedClassifier = self.program(program);
        let order = TcAttachOptions::TcxOrder(LinkOrder::first());
        let id = classifier
            .attach_with_options(interface, direction, order)
            .map_err(refused)?;
        let link = classifier.take_link(id).map_err(refused)?;
        let link = FdLink::try_from(link).map_err(|error| link_error(&name, error))?;
        self.pin(link, &name)
    }

    /// Detaches what an earlier daemon attached elsewhere.
    fn detach_others(&mut self, interface: &str, ifindex: u32, kept: Hook) {
        for hook in [Hook::XdpNative, Hook::XdpGeneric] {
            if hook != kept {
                self.unpin(&link_name(ifindex, hook.name()));
            }
        }
        let ingress = map::PROGRAM_TC_UPLINK;
        let egress = map::PROGRAM_TC_RESTORE;
        if kept != Hook::Tcx {
            self.unpin(&link_name(ifindex, ingress));
        }
        if kept != Hook::Clsact {
            self.unfilter(interface, ingress);
        }
        if kept.beside() == Hook::Tcx {
            self.unfilter(interface, egress);
        } else {
            self.unpin(&link_name(ifindex, egress));
        }
    }

    /// Detaches everything from an uplink.
    pub fn detach_uplink(&mut self, interface: &str, ifindex: u32) {
        for hook in [Hook::XdpNative, Hook::XdpGeneric] {
            self.unpin(&link_name(ifindex, hook.name()));
        }
        for program in [map::PROGRAM_TC_UPLINK, map::PROGRAM_TC_RESTORE] {
            self.unpin(&link_name(ifindex, program));
            self.unfilter(interface, program);
        }
    }

    /// Attaches the socket programs to the cgroup that holds this node's local clients.
    ///
    /// # Errors
    /// [`AttachError`] of the first program refused; the others are attached.
    pub fn attach_sockets(&mut self, cgroup: &Path) -> Result<(), AttachError> {
        let directory = File::open(cgroup).map_err(|source| AttachError::Cgroup {
            path: cgroup.display().to_string(),
            source,
        })?;
        let mut failure = None;
        for name in map::PROGRAMS_SOCKET {
            if let Err(error) = self.attach_socket(name, cgroup, &directory) {
                failure.get_or_insert(error);
            }
        }
        failure.map_or(Ok(()), Err)
    }

    fn attach_socket(
        &mut self,
        name: &'static str,
        cgroup: &Path,
        directory: &File,
    ) -> Result<(), AttachError> {
        let refused = |source| AttachError::Refused {
            hook: name,
            target: cgroup.display().to_string(),
            source: Box::new(source),
        };
        let pin = format!("cgroup-{name}");
        self.adopt(&pin);
        if let Ok(link) = link::open(&self.pins.links().join(&pin)) {
            let program: &mut CgroupSockAddr = self.program(name);
            if link::update(&link, program.fd().map_err(refused)?.as_fd()).is_ok() {
                return Ok(());
            }
            self.unpin(&pin);
        }
        let program: &mut CgroupSockAddr = self.program(name);
        // A link shares the cgroup with others whatever its flags, and takes none.
        let id = program
            .attach(directory, CgroupAttachMode::Single)
            .map_err(refused)?;
        let link = program.take_link(id).map_err(refused)?;
        let link = FdLink::try_from(link).map_err(|error| link_error(&pin, error))?;
        self.pin(link, &pin)
    }

    fn program<'a, P>(&'a mut self, name: &str) -> &'a mut P
    where
        &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = ProgramError>,
    {
        let program = self
            .ebpf
            .program_mut(name)
            .expect("the object has every program that map.rs names");
        program
            .try_into()
            .unwrap_or_else(|error| panic!("program {name} has the type of its section: {error}"))
    }

    fn pinned(&self, name: &str) -> Result<Option<PinnedLink>, AttachError> {
        match PinnedLink::from_pin(self.pins.links().join(name)) {
            Ok(link) => Ok(Some(link)),
            Err(LinkError::SyscallError(error))
                if error.io_error.kind() == io::ErrorKind::NotFound =>
            {
                Ok(None)
            }
            Err(error) => Err(link_error(name, error)),
        }
    }

    /// Takes a link over from another layout, to be updated in place.
    fn adopt(&self, name: &str) {
        if let Err(error) = self.predecessors.hand_over(&self.pins, name) {
            warn!(name, %error, "a link of another layout was not taken over");
        }
    }

    fn pin(&self, link: FdLink, name: &str) -> Result<(), AttachError> {
        link.pin(self.pins.links().join(name))
            .map(drop)
            .map_err(|error| link_error(name, error))
    }

    fn unfilter(&self, interface: &str, program: &str) {
        if let Err(error) = clsact::detach(interface, program) {
            warn!(interface, program, %error, "an earlier filter in clsact was not removed");
        }
    }

    fn unpin(&self, name: &str) {
        if let Err(error) = link::detach(&self.pins.links().join(name)) {
            warn!(name, %error, "a pinned link was not removed");
        }
    }
}

/// Whether tc programs are attached by links.
pub fn has_tcx() -> bool {
    KernelVersion::current().is_ok_and(|version| version >= KernelVersion::new(6, 6, 0))
}

/// The name that the pin of a link on an interface has, in every layout.
pub(crate) fn link_name(ifindex: u32, what: &str) -> String {
    format!("if{ifindex}-{what}")
}

fn link_error(name: &str, error: impl std::error::Error + Send + Sync + 'static) -> AttachError {
    AttachError::Link {
        name: name.to_owned(),
        source: io::Error::other(error),
    }
}
