//! Which LoadBalancer Services are ours.

/// Landfall's own `spec.loadBalancerClass`.
pub const LANDFALL_CLASS: &str = "landfall.dev/l2";
/// The class of Cilium's L2 announcer.
pub const CILIUM_CLASS: &str = "io.cilium/l2-announcer";

/// Decides by `spec.loadBalancerClass` whether a LoadBalancer Service is ours, and whether Cilium's
/// kinds are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassPolicy {
    /// Services without a class are ours (`services.without_class`).
    pub without_class: bool,
    /// Cilium's class and kinds are ours (`services.cilium`).
    pub cilium: bool,
}

impl Default for ClassPolicy {
    fn default() -> Self {
        Self {
            without_class: true,
            cilium: true,
        }
    }
}

impl ClassPolicy {
    /// Whether a LoadBalancer Service of `class` is ours.
    pub fn owns(self, class: Option<&str>) -> bool {
        match class {
            None => self.without_class,
            Some(LANDFALL_CLASS) => true,
            Some(CILIUM_CLASS) => self.cilium,
            Some(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_ours_by_its_class_or_by_the_settings() {
        let both = ClassPolicy::default();
        let neither = ClassPolicy {
            without_class: false,
            cilium: false,
        };
        for policy in [both, neither] {
            assert!(policy.owns(Some("landfall.dev/l2")));
            assert!(!policy.owns(Some("tailscale")));
        }
        assert!(both.owns(None) && both.owns(Some("io.cilium/l2-announcer")));
        assert!(!neither.owns(None) && !neither.owns(Some("io.cilium/l2-announcer")));
    }
}
