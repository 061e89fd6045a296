//! The control plane: etcd, kube-apiserver, kube-controller-manager and kube-scheduler, on a
//! machine of their own. Each is in a control group of its own and calls the API server as itself.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::audit::Audit;
use super::client::Client;
use super::daemon::Daemon;
use super::kubeconfig;
use super::kubectl::Kubectl;
use super::pki::{Authority, Identity, Pair, TokenKeys};
use super::programs::Programs;
use super::way::Way;
use super::{SERVICES_V4, SERVICES_V6};
use crate::lab::host::Host;
use crate::lab::wait;

/// How long the API server may take to be ready; all cores may be busy.
const PATIENCE: Duration = Duration::from_secs(120);

/// The port of the API server.
pub const API_PORT: u16 = 6443;

/// Where etcd listens, for the API server alone: nobody else is on that machine.
const ETCD: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 2379);

/// Where the API server looks for etcd: the way there can be made slow.
const WAY_TO_ETCD: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 2378);

/// What is written to the audit log: who asked for what, of the agents' requests alone.
const AUDIT_POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  userGroups: ['system:serviceaccounts:landfall-system']
- level: None
";

/// The first address of each range of cluster IPs is the API server's own service.
const API_SERVICE: [&str; 2] = ["10.96.0.1", "fd00:96::1"];

/// A program of the control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Component {
    /// Keeps the objects.
    Etcd,
    /// Serves the API.
    ApiServer,
    /// Runs Kubernetes' own controllers, each with its own service account.
    ControllerManager,
    /// Assigns pods to nodes.
    Scheduler,
}

impl Component {
    /// The program's name.
    #[must_use]
    pub fn program(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
        }
    }
}

/// A running control plane. Dropping it kills its programs.
#[derive(Debug)]
pub struct ControlPlane {
    host: Host,
    dir: PathBuf,
    programs: Programs,
    files: Files,
    way_to_etcd: Way,
    running: Mutex<BTreeMap<Component, Daemon>>,
}

/// What the components are given, by file.
#[derive(Debug)]
struct Files {
    authority: PathBuf,
    serving: Pair,
    to_kubelets: Pair,
    tokens: TokenKeys,
    controller_manager: PathBuf,
    scheduler: PathBuf,
    admin: PathBuf,
    audit_policy: PathBuf,
}

impl ControlPlane {
    /// Writes everything that the components need. None runs yet.
    pub(super) fn new(
        host: Host,
        dir: &Path,
        programs: &Programs,
        authority: &Authority,
    ) -> Result<Self> {
        let address = host.ipv4();
        let mut ips = vec![
            address.into(),
            host.ipv6().into(),
            Ipv4Addr::LOCALHOST.into(),
        ];
        for ip in API_SERVICE {
            ips.push(ip.parse::<IpAddr>().context("an address")?);
        }
        let names = [
            "localhost",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
        ];
        let server = api_url(address);
        let config = |name: &str, user: &str, group: Option<&str>| {
            let identity = Identity { user, group };
            kubeconfig::write(dir, name, identity, authority, &server)
        };
        let [controller_manager, scheduler] = [Component::ControllerManager, Component::Scheduler]
            .map(|one| config(one.program(), &format!("system:{}", one.program()), None));
        let caller = Identity {
            user: KUBELET_CLIENT,
            group: None,
        };
        let audit_policy = dir.join("audit-policy.yaml");
        fs::write(&audit_policy, AUDIT_POLICY).context("the audit policy")?;
        let files = Files {
            audit_policy,
            authority: authority.certificate(),
            serving: authority.server("kube-apiserver", &names, &ips)?,
            to_kubelets: authority.client(KUBELET_CLIENT, caller)?,
            tokens: authority.token_keys()?,
            controller_manager: controller_manager?,
            scheduler: scheduler?,
            // The person who runs the cluster. No component is in this group.
            admin: config("admin", "admin", Some("system:masters"))?,
        };
        let way_to_etcd = Way::open(&host, WAY_TO_ETCD, ETCD)?;
        Ok(Self {
            host,
            way_to_etcd,
            dir: dir.to_owned(),
            programs: programs.clone(),
            files,
            running: Mutex::default(),
        })
    }

    /// The machine that the components run on.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The address of the API server, which pods call until something serves cluster IPs: see
    /// [`super`].
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.host.ipv4()
    }

    /// The URL of the API server.
    #[must_use]
    pub fn url(&self) -> String {
        api_url(self.address())
    }

    /// kubectl as the cluster's administrator.
    #[must_use]
    pub fn kubectl(&self) -> Kubectl {
        Kubectl {
            host: self.host.clone(),
            program: self.programs.path("kubectl").to_owned(),
            kubeconfig: self.files.admin.clone(),
            cache: self.dir.join("kubectl"),
        }
    }

    /// A connection to the API server as the cluster's administrator.
    ///
    /// # Errors
    /// When there cannot be one; the server need not be there yet.
    pub fn client(&self) -> Result<Client> {
        Client::new(&self.host, &self.files.admin)
    }

    /// The requests that the agents have made so far.
    ///
    /// # Errors
    /// When the API server's log of them cannot be read.
    pub fn audit(&self) -> Result<Audit> {
        Audit::read(&self.audit_log())
    }

    fn audit_log(&self) -> PathBuf {
        self.dir.join("audit.log")
    }

    /// Has everything that the API server sends to etcd arrive this much later: each write takes that
    /// much longer, while watchers are told of one at once when it is done.
    pub fn slow_writes(&self, delay: Duration) {
        self.way_to_etcd.set_delay(delay);
    }

    /// Breaks the connections that a machine has to the API server, watches among them, by resets.
    /// Gives how many there were.
    ///
    /// # Errors
    /// When `ss` is not installed, or the kernel cannot do it.
    pub fn reset_connections(&self, from: Ipv4Addr) -> Result<usize> {
        let words = format!("ss --no-header -K dst {from} sport = :{API_PORT}");
        Ok(self.host.output(&words)?.lines().count())
    }

    /// Starts a component. Does not wait until it serves.
    ///
    /// # Errors
    /// When it runs already or cannot be run.
    pub fn start(&self, component: Component) -> Result<()> {
        let mut running = self.lock();
        let name = component.program();
        ensure!(!running.contains_key(&component), "{name} runs already");
        let group = self.host.cgroup().child(name)?;
        let mut command = self.host.command_in(&group, self.programs.path(name))?;
        command.args(self.arguments(component));
        let daemon = Daemon::start(name, &self.dir, &mut command)?;
        running.insert(component, daemon);
        Ok(())
    }

    /// Kills a component.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&self, component: Component) -> Result<()> {
        let gone = self.lock().remove(&component);
        gone.map(drop)
            .with_context(|| format!("{} does not run", component.program()))
    }

    /// Waits until the API server says that it is ready.
    ///
    /// # Errors
    /// When it does not within 120 s, or a component ends.
    pub fn wait_ready(&self) -> Result<()> {
        let kubectl = self.kubectl();
        wait::until(PATIENCE, "the API server to be ready", || {
            self.lock().values_mut().try_for_each(Daemon::check)?;
            Ok(kubectl
                .run("get --raw /readyz")
                .is_ok_and(|said| said == "ok"))
        })
    }

    fn arguments(&self, component: Component) -> Vec<String> {
        let file = |flag: &str, path: &Path| format!("--{flag}={}", path.display());
        let files = &self.files;
        let word = str::to_owned;
        match component {
            Component::Etcd => vec![
                file("data-dir", &self.dir.join("etcd")),
                format!("--listen-client-urls={}", url(ETCD)),
                format!("--advertise-client-urls={}", url(ETCD)),
                // It outlives its process, which is all that a scenario asks of it.
                word("--unsafe-no-fsync"),
            ],
            Component::ApiServer => vec![
                format!("--etcd-servers={}", url(WAY_TO_ETCD)),
                file("audit-policy-file", &files.audit_policy),
                file("audit-log-path", &self.audit_log()),
                format!("--secure-port={API_PORT}"),
                format!("--advertise-address={}", self.address()),
                file("tls-cert-file", &files.serving.certificate),
                file("tls-private-key-file", &files.serving.key),
                file("client-ca-file", &files.authority),
                file("kubelet-certificate-authority", &files.authority),
                file("kubelet-client-certificate", &files.to_kubelets.certificate),
                file("kubelet-client-key", &files.to_kubelets.key),
                word("--kubelet-preferred-address-types=InternalIP"),
                word("--service-account-issuer=https://kubernetes.default.svc.cluster.local"),
                file("service-account-key-file", &files.tokens.public),
                file("service-account-signing-key-file", &files.tokens.private),
                word("--authorization-mode=Node,RBAC"),
                word("--enable-admission-plugins=NodeRestriction"),
                format!("--service-cluster-ip-range={SERVICES_V4},{SERVICES_V6}"),
                word("--allow-privileged=true"),
            ],
            Component::ControllerManager => vec![
                file("kubeconfig", &files.controller_manager),
                file("service-account-private-key-file", &files.tokens.private),
                file("root-ca-file", &files.authority),
                word("--use-service-account-credentials=true"),
                // It makes the directory, by default on the real machine.
                file("flex-volume-plugin-dir", &self.dir.join("flex-volumes")),
                // The nodes' pod networks are the lab's, fixed by their numbers.
                word("--controllers=*,-node-ipam-controller"),
                // Endpoints of thousands of Services are there in seconds.
                word("--kube-api-qps=200"),
                word("--kube-api-burst=400"),
                word("--leader-elect=false"),
            ],
            Component::Scheduler => vec![
                file("kubeconfig", &files.scheduler),
                word("--leader-elect=false"),
            ],
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Component, Daemon>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The API server's name when it calls kubelets, for logs and `kubectl exec`.
pub(super) const KUBELET_CLIENT: &str = "kube-apiserver-kubelet-client";

fn url((address, port): (Ipv4Addr, u16)) -> String {
    format!("http://{address}:{port}")
}

fn api_url(address: Ipv4Addr) -> String {
    format!("https://{address}:{API_PORT}")
}
