//! The chronicle: conditions and events of Services.
//!
//! Sans-IO: plans, observations and `now` go in, one [`Account`] per Service comes out. Fed by the reconciler with each
//! complete plan; feeds `landfall service describe`, and whoever writes them to the objects. Conditions say what holds,
//! by the last observation; events say what was seen to change. A Service costs something only when something that
//! concerns it changed.
//!
//! An agent that starts finds what is there: that is no event. Events are bounded per Service and in all, the
//! longest ago is forgotten first.

mod events;
mod standing;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use self::events::Events;
use self::standing::{Found, Places, Told};
use super::Plan;
use super::addresses::{AddressPlan, REASON_PENDING};
use super::announcement::{Announcements, Vip};
use crate::election::LeaseName;
use crate::model::{Assignment, Holdings, NodeName, Observed, PeerConflicts, ServiceName};
use crate::report::{Account, Condition, ConditionStatus, EventKind};

/// The condition of a Service's request for addresses.
pub const IPAM_REQUEST_SATISFIED: &str = "landfall.dev/IPAMRequestSatisfied";
/// The condition of a Service whose addresses are answered for on the LAN.
pub const ANNOUNCED: &str = "landfall.dev/Announced";
/// Reason of [`IPAM_REQUEST_SATISFIED`] where everything wanted is there.
pub const SATISFIED: &str = "satisfied";
/// Reason of [`ANNOUNCED`] where there is no address to announce.
pub const NO_ADDRESS: &str = "no_address";

/// What is to be said of each Service. Of those that did not change the same `Arc`s.
pub type Accounts = Arc<BTreeMap<ServiceName, Arc<Account>>>;

/// Follows plans and observations; see the module's text.
#[derive(Debug)]
pub struct Chronicle {
    me: NodeName,
    accounts: Accounts,
    events: Events,
    /// What each Service was last found to have; what differs now is an event.
    before: BTreeMap<ServiceName, Before>,
    leases: BTreeMap<ServiceName, BTreeSet<LeaseName>>,
    addresses: AddressPlan,
    announcements: Arc<Announcements>,
    holdings: Holdings,
    places: Places,
    conflicts: PeerConflicts,
    begun: bool,
}

/// What a Service was last found to have.
#[derive(Debug, Default)]
struct Before {
    assignment: Option<Arc<Assignment>>,
    found: BTreeMap<IpAddr, Found>,
}

impl Chronicle {
    /// An empty chronicle of the node `me`.
    pub fn new(me: NodeName) -> Self {
        Self {
            me,
            accounts: Accounts::default(),
            events: Events::default(),
            before: BTreeMap::new(),
            leases: BTreeMap::new(),
            addresses: AddressPlan::default(),
            announcements: Arc::default(),
            holdings: Holdings::default(),
            places: Places::default(),
            conflicts: PeerConflicts::default(),
            begun: false,
        }
    }

    /// What is to be said of each Service.
    pub fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// Takes in a complete plan and what was observed until `now`.
    pub fn follow(&mut self, plan: &Plan, observed: &Observed, now: SystemTime) {
        let mut concerned = self.assignments_changed(&plan.addresses);
        self.vips_changed(&plan.announcements, &mut concerned);
        self.addresses = plan.addresses.clone();
        self.announcements = Arc::clone(&plan.announcements);
        let mut leases = self.holdings_changed(&observed.holdings);
        self.holdings = observed.holdings.clone();
        if !self.places.is_of(&observed.announced) {
            let places = Places::of(&observed.announced);
            if self.places.unheard_changed(&places) {
                // Rare, and an interface concerns any.
                leases.extend(self.announcements.vips.keys().cloned());
            }
            leases.extend(self.places.changed(&places));
            self.places = places;
        }
        if !Arc::ptr_eq(&self.conflicts, &observed.conflicts) {
            let before = std::mem::replace(&mut self.conflicts, Arc::clone(&observed.conflicts));
            let moved: BTreeSet<&IpAddr> =
                differing(&before, &self.conflicts, PartialEq::eq).collect();
            let vips = self.announcements.vips.iter();
            let with =
                vips.filter(|(_, vip)| moved.iter().any(|ip| vip.addresses.contains_key(*ip)));
            leases.extend(with.map(|(lease, _)| lease.clone()));
        }
        for lease in leases {
            let vip = self.announcements.vips.get(&lease);
            concerned.extend(vip.into_iter().flat_map(|vip| vip.services.iter().cloned()));
        }
        for service in concerned {
            self.tell(&service, now);
        }
        self.begun = true;
    }

    /// Services whose assignment differs.
    fn assignments_changed(&self, addresses: &AddressPlan) -> BTreeSet<ServiceName> {
        if Arc::ptr_eq(&self.addresses.services, &addresses.services) {
            return BTreeSet::new();
        }
        differing(&self.addresses.services, &addresses.services, Arc::ptr_eq)
            .cloned()
            .collect()
    }

    /// Adds the Services whose VIPs differ, and keeps the index of their leases.
    fn vips_changed(&mut self, new: &Arc<Announcements>, concerned: &mut BTreeSet<ServiceName>) {
        if Arc::ptr_eq(&self.announcements, new) {
            return;
        }
        let old = Arc::clone(&self.announcements);
        let services = |vips: &BTreeMap<LeaseName, Arc<Vip>>, lease: &LeaseName| {
            let vip = vips.get(lease);
            vip.map(|vip| vip.services.clone()).unwrap_or_default()
        };
        for lease in differing(&old.vips, &new.vips, Arc::ptr_eq) {
            for service in services(&old.vips, lease) {
                if let Some(leases) = self.leases.get_mut(&service) {
                    leases.remove(lease);
                }
                concerned.insert(service);
            }
            for service in services(&new.vips, lease) {
                let leases = self.leases.entry(service.clone()).or_default();
                leases.insert(lease.clone());
                concerned.insert(service);
            }
        }
    }

    /// Leases that are not where they were.
    fn holdings_changed(&self, new: &Holdings) -> BTreeSet<LeaseName> {
        let old = &self.holdings;
        let mut leases = BTreeSet::new();
        if !Arc::ptr_eq(&old.held, &new.held) {
            leases.extend(differing(&old.held, &new.held, PartialEq::eq).cloned());
        }
        if !Arc::ptr_eq(&old.holders, &new.holders) {
            leases.extend(differing(&old.holders, &new.holders, PartialEq::eq).cloned());
        }
        let moved: BTreeSet<_> = old.live.symmetric_difference(&new.live).collect();
        if !moved.is_empty() {
            let of_moved = new.holders.iter().filter(|(_, node)| moved.contains(node));
            leases.extend(of_moved.map(|(lease, _)| lease.clone()));
        }
        leases
    }

    /// Tells anew of one Service.
    fn tell(&mut self, service: &ServiceName, now: SystemTime) {
        let Some(assignment) = self.addresses.services.get(service).cloned() else {
            self.leases.remove(service);
            self.before.remove(service);
            if let Some(account) = Arc::make_mut(&mut self.accounts).remove(service) {
                self.events.forget(&account);
            }
            return;
        };
        let found = self.find(service, &assignment);
        let before = self.before.remove(service);
        let mut account = self
            .accounts
            .get(service)
            .map(|account| (**account).clone());
        let account = account.get_or_insert_default();
        let request = ipam(&assignment, now);
        account.conditions = [request.clone(), announced(&found, &self.me, now)]
            .into_iter()
            .flatten()
            .map(|condition| aged(condition, &account.conditions))
            .collect();
        account.status = [request, announced_by_any(&found, now)]
            .into_iter()
            .flatten()
            .map(|condition| aged(condition, &account.status))
            .collect();
        let mut news = Vec::new();
        if self.begun {
            let known = before
                .as_ref()
                .and_then(|before| before.assignment.as_ref());
            news.extend(allocated(known.map(|known| &**known), &assignment));
        }
        let before = before.unwrap_or_default();
        for (address, now) in &found {
            let before = before.found.get(address);
            news.extend(now.news(before, *address, &self.me));
        }
        for (kind, reason, message) in news {
            let full = self
                .events
                .add(service, account, (kind, reason, message), now);
            if let Some((other, serial)) = full {
                self.forget(service, account, &other, serial);
            }
        }
        let known = self.accounts.get(service).map(|known| &**known);
        if known != Some(account) {
            let accounts = Arc::make_mut(&mut self.accounts);
            accounts.insert(service.clone(), Arc::new(account.clone()));
        }
        let assignment = Some(assignment);
        self.before
            .insert(service.clone(), Before { assignment, found });
    }

    /// Forgets the event `serial` of `other`, which may be the Service that is being told of.
    fn forget(
        &mut self,
        service: &ServiceName,
        own: &mut Account,
        other: &ServiceName,
        serial: u64,
    ) {
        if other == service {
            own.events.retain(|event| event.serial != serial);
        } else if let Some(account) = Arc::make_mut(&mut self.accounts).get_mut(other) {
            Arc::make_mut(account)
                .events
                .retain(|event| event.serial != serial);
        }
    }

    /// Where every address of a Service stands.
    fn find(&self, service: &ServiceName, assignment: &Assignment) -> BTreeMap<IpAddr, Found> {
        let mut found = BTreeMap::new();
        for lease in self.leases.get(service).into_iter().flatten() {
            let Some(vip) = self.announcements.vips.get(lease) else {
                continue;
            };
            for address in assignment.vips() {
                if let Some(here) = vip.addresses.get(&address) {
                    let standing = Found::of(
                        address,
                        (lease, vip, here),
                        (&self.me, &self.holdings, &self.places),
                        self.conflicts.get(&address),
                    );
                    found.insert(address, standing);
                }
            }
        }
        found
    }
}

/// The condition of the request for addresses; none where the Service asks for none.
fn ipam(entry: &Assignment, now: SystemTime) -> Option<Condition> {
    let status = match &*entry.reason {
        "" => return None,
        SATISFIED => ConditionStatus::True,
        REASON_PENDING => ConditionStatus::Unknown,
        _ => ConditionStatus::False,
    };
    Some(Condition {
        kind: IPAM_REQUEST_SATISFIED,
        status,
        reason: Arc::clone(&entry.reason),
        message: Arc::clone(&entry.message),
        last_transition: now,
    })
}

/// The condition of being answered for: that of the address which needs a person most.
fn announced(found: &BTreeMap<IpAddr, Found>, me: &NodeName, now: SystemTime) -> Option<Condition> {
    let worst = found
        .values()
        .map(|found| &found.standing)
        .max_by_key(|s| s.rank());
    let (status, reason, message) = match worst {
        None => (
            ConditionStatus::False,
            NO_ADDRESS,
            "it has no address yet".to_owned(),
        ),
        Some(worst) => {
            let alike = found
                .iter()
                .filter(|(_, found)| found.standing.rank() == worst.rank());
            let sentences: Vec<String> = alike
                .map(|(address, found)| found.sentence(*address, me))
                .collect();
            (worst.status(), worst.reason(), sentences.join("; "))
        }
    };
    Some(Condition {
        kind: ANNOUNCED,
        status,
        reason: reason.into(),
        message: message.into(),
        last_transition: now,
    })
}

/// The condition of being answered for, as every node would put it.
fn announced_by_any(found: &BTreeMap<IpAddr, Found>, now: SystemTime) -> Option<Condition> {
    let told = found
        .iter()
        .map(|(address, found)| found.standing.by_any(*address));
    let mut told: Vec<Told> = told.collect();
    told.sort_by_key(|told| std::cmp::Reverse(told.rank));
    let (status, reason, message) = match told.first() {
        None => (
            ConditionStatus::False,
            NO_ADDRESS,
            "it has no address yet".to_owned(),
        ),
        Some(worst) => {
            let alike = told.iter().filter(|told| told.rank == worst.rank);
            let sentences: Vec<&str> = alike.map(|told| told.sentence.as_str()).collect();
            (worst.status, worst.reason, sentences.join("; "))
        }
    };
    Some(Condition {
        kind: ANNOUNCED,
        status,
        reason: reason.into(),
        message: message.into(),
        last_transition: now,
    })
}

/// The condition with the time of the one before where the status is still that.
fn aged(condition: Condition, before: &[Condition]) -> Condition {
    let known = before
        .iter()
        .find(|known| known.kind == condition.kind && known.status == condition.status);
    Condition {
        last_transition: known.map_or(condition.last_transition, |known| known.last_transition),
        ..condition
    }
}

/// What an event says.
type News = (EventKind, &'static str, String);

/// What has become of a request for addresses.
fn allocated(before: Option<&Assignment>, now: &Assignment) -> Option<News> {
    let same = |known: &Assignment| {
        (&known.addresses, &known.reason, &known.message)
            == (&now.addresses, &now.reason, &now.message)
    };
    if before.is_some_and(same) {
        return None;
    }
    match &*now.reason {
        "" | REASON_PENDING => None,
        SATISFIED => {
            let addresses = now.addresses.iter();
            let addresses = addresses.map(|one| format!("{} from pool {}", one.address, one.pool));
            let addresses = addresses.collect::<Vec<_>>().join(", ");
            Some((EventKind::Normal, "IPAllocated", addresses))
        }
        reason => {
            let message = format!("{reason}: {}", now.message);
            Some((EventKind::Warning, "AllocationFailed", message))
        }
    }
}

/// Keys of entries that only one of two maps has, or that are not the same in both.
fn differing<'a, K: Ord, V>(
    old: &'a BTreeMap<K, V>,
    new: &'a BTreeMap<K, V>,
    same: impl Fn(&V, &V) -> bool,
) -> impl Iterator<Item = &'a K> {
    let gone = old.keys().filter(|key| !new.contains_key(*key));
    let other = new.iter().filter(move |(key, value)| {
        let known = old.get(*key);
        !known.is_some_and(|known| same(known, value))
    });
    gone.chain(other.map(|(key, _)| key))
}
